// What scripts/build.ts embeds into the binary; each module is the path of the embedded file.

declare module 'lake:duckdb-addon' {
  const path: string;
  export default path;
}

declare module 'lake:duckdb-library' {
  const path: string;
  export default path;
}
