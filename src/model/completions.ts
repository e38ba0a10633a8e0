// Completion scripts of bash, zsh and fish, of what the commands declare. Pure.
// Invariant: every verb and flag that there is, and no other; names of feeds are asked of lake itself, when they are wanted.

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

type Flag = {
  readonly name: string;
  readonly text: string;
  /** What it takes, as the help calls it; null: nothing. */
  readonly value: string | null;
  readonly values: readonly string[];
};
type Verb = {
  readonly verb: string;
  readonly summary: string;
  /** What its first word may be. */
  readonly words: readonly string[];
  readonly takesFeeds: boolean;
  readonly flags: readonly Flag[];
};
export type Completable = { readonly verbs: readonly Verb[]; readonly globals: readonly Flag[] };

export function scriptOf(shell: Shell, of: Completable): string {
  switch (shell) {
    case 'bash':
      return bash(of);
    case 'zsh':
      return zsh(of);
    case 'fish':
      return fish(of);
  }
}

const HELP: Flag = { name: '--help', text: 'Flags and examples', value: null, values: [] };
/** Flags of one name may be declared by several verbs. */
const distinct = (flags: readonly Flag[]): readonly Flag[] => [...new Map(flags.map((flag) => [flag.name, flag])).values()];
const allFlags = ({ verbs, globals }: Completable): readonly Flag[] =>
  distinct([...globals, ...verbs.flatMap(({ flags }) => flags)]);
const flagsOf = ({ globals }: Completable, verb: Verb | null): readonly Flag[] =>
  distinct([...(verb?.flags ?? []), ...globals, HELP]);
const namesOf = (flags: readonly Flag[]): string => flags.map(({ name }) => name).join(' ');

const isFile = ({ value, name }: Flag): boolean => /^(file|folder|path)$/.test(value ?? '') || name === '--lake-path';
const isFeed = ({ name }: Flag): boolean => name === '--feed';
const takesAny = (flag: Flag): boolean => flag.value !== null && flag.values.length === 0 && !isFile(flag) && !isFeed(flag);
const cases = (flags: readonly Flag[]): string => flags.map(({ name }) => name).join('|');

const FEEDS = '2>/dev/null | tail -n +2 | cut -f 1';

const BASH_FEEDS = `$(_lake_feeds "\${COMP_WORDS[0]}" "$config")`;

function bash(of: Completable): string {
  const flags = allFlags(of);
  const withValue = flags.filter(({ value, name }) => value !== null && name !== '--config');
  const reply = (words: string): string => `COMPREPLY=($(compgen -W "${words}" -- "$word"))`;
  const lists = flags.filter(({ values }) => values.length > 0);
  return `# Completes lake in bash:  source <(lake completions bash)
_lake_feeds() {
  "$1" feeds list --config "$2" ${FEEDS}
}

_lake() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} verb= config=feeds.json count=0 i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      --config) ((i++)); config=\${COMP_WORDS[i]} ;;
      ${cases(withValue)}) ((i++)) ;;
      -*) ;;
      *) if [[ -z $verb ]]; then verb=\${COMP_WORDS[i]}; else ((count++)); fi ;;
    esac
  done
  case $before in
${lists.map(({ name, values }) => `    ${name}) ${reply(values.join(' '))}; return ;;`).join('\n')}
    ${cases(flags.filter(isFile))}) COMPREPLY=($(compgen -f -- "$word")); return ;;
    ${cases(flags.filter(isFeed))}) ${reply(BASH_FEEDS)}; return ;;
    ${cases(flags.filter(takesAny))}) COMPREPLY=(); return ;;
  esac
  if [[ $word == -* ]]; then
    case $verb in
${of.verbs.map((verb) => `      ${verb.verb}) ${reply(namesOf(flagsOf(of, verb)))} ;;`).join('\n')}
      *) ${reply(namesOf(flagsOf(of, null)))} ;;
    esac
    return
  fi
  case $verb in
    '') ${reply(of.verbs.map(({ verb }) => verb).join(' '))} ;;
${of.verbs
  .filter(({ words }) => words.length > 0)
  .map(({ verb, words, takesFeeds }) => {
    const next = takesFeeds ? reply(BASH_FEEDS) : 'COMPREPLY=()';
    return `    ${verb}) if ((count == 0)); then ${reply(words.join(' '))}; else ${next}; fi ;;`;
  })
  .join('\n')}
    ${of.verbs
      .filter(({ words, takesFeeds }) => words.length === 0 && takesFeeds)
      .map(({ verb }) => verb)
      .join('|')}) ${reply(BASH_FEEDS)} ;;
  esac
}

complete -F _lake lake
`;
}

/** Inside single quotes. */
const quoted = (text: string): string => text.replaceAll("'", "'\\''");
const described = (name: string, text: string): string => `'${quoted(`${name}:${text.replaceAll(':', '\\:')}`)}'`;

function zsh(of: Completable): string {
  const flags = allFlags(of);
  const withValue = flags.filter(({ value, name }) => value !== null && name !== '--config');
  const list = (some: readonly Flag[]): string => some.map(({ name, text }) => described(name, text)).join(' ');
  return `#compdef lake
# Completes lake in zsh:  lake completions zsh > ~/.zfunc/_lake, a folder of your fpath
_lake_feeds() {
  compadd -- \${(f)"$($words[1] feeds list --config $1 ${FEEDS})"}
}

_lake() {
  local verb= config=feeds.json i
  local -i count=0
  local -a offered
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
      --config) ((i++)); config=$words[i] ;;
      ${cases(withValue)}) ((i++)) ;;
      -*) ;;
      *) if [[ -z $verb ]]; then verb=$words[i]; else ((count++)); fi ;;
    esac
  done
  case $words[CURRENT-1] in
${flags
  .filter(({ values }) => values.length > 0)
  .map(({ name, values }) => `    ${name}) compadd -- ${values.join(' ')}; return ;;`)
  .join('\n')}
    ${cases(flags.filter(isFile))}) _files; return ;;
    ${cases(flags.filter(isFeed))}) _lake_feeds $config; return ;;
    ${cases(flags.filter(takesAny))}) return ;;
  esac
  if [[ $words[CURRENT] == -* ]]; then
    case $verb in
${of.verbs.map((verb) => `      ${verb.verb}) offered=(${list(flagsOf(of, verb))}) ;;`).join('\n')}
      *) offered=(${list(flagsOf(of, null))}) ;;
    esac
    _describe flag offered
    return
  fi
  case $verb in
    '') offered=(${of.verbs.map(({ verb, summary }) => described(verb, summary)).join(' ')}); _describe command offered ;;
${of.verbs
  .filter(({ words, takesFeeds }) => words.length > 0 || takesFeeds)
  .map(({ verb, words, takesFeeds }) => {
    const feeds = takesFeeds ? '_lake_feeds $config' : ':';
    return words.length === 0
      ? `    ${verb}) ${feeds} ;;`
      : `    ${verb}) if ((count == 0)); then compadd -- ${words.join(' ')}; else ${feeds}; fi ;;`;
  })
  .join('\n')}
  esac
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _lake "$@"; else compdef _lake lake; fi
`;
}

function fish(of: Completable): string {
  const lines = [
    '# Completes lake in fish:  lake completions fish > ~/.config/fish/completions/lake.fish',
    'complete -c lake -f',
  ];
  const feeds = `'(lake feeds list ${FEEDS})'`;
  const flagLine = (flag: Flag, condition: string): string => {
    const how = flag.value === null ? '' : isFile(flag) ? ' -r -F' : ' -x';
    const values = isFeed(flag) ? ` -a ${feeds}` : flag.values.length > 0 ? ` -a '${flag.values.join(' ')}'` : '';
    return `complete -c lake${condition} -l ${flag.name.slice(2)}${how}${values} -d '${quoted(flag.text)}'`;
  };
  for (const flag of [...of.globals, HELP]) lines.push(flagLine(flag, ''));
  for (const { verb, summary, words, takesFeeds, flags } of of.verbs) {
    lines.push(`complete -c lake -n __fish_use_subcommand -a ${verb} -d '${quoted(summary)}'`);
    const seen = `__fish_seen_subcommand_from ${verb}`;
    const isNext = words.length === 0 ? seen : `${seen}; and __fish_seen_subcommand_from ${words.join(' ')}`;
    if (words.length > 0)
      lines.push(`complete -c lake -n '${seen}; and not __fish_seen_subcommand_from ${words.join(' ')}' -a '${words.join(' ')}'`);
    if (takesFeeds) lines.push(`complete -c lake -n '${isNext}' -a ${feeds}`);
    for (const flag of flags) lines.push(flagLine(flag, ` -n '${seen}'`));
  }
  return `${lines.join('\n')}\n`;
}
