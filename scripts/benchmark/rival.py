"""The rival: what an expert writes in Python when speed is the aim (confluent-kafka with tuned queues, pyarrow's JSON reader).

Arguments: bootstrap, topic, messages, output folder. Prints one JSON line. Day-partitioned snappy Parquet, 100,000 rows a
file. It is at-least-once (offsets are committed after the files, so a crash between doubles rows), inexact (amounts pass
through doubles), keeps no lineage, and stops at the first message that is not JSON.
"""

import json
import os
import sys
import threading
import time
import uuid
from queue import Queue

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq
from confluent_kafka import Consumer

BATCH_ROWS = 100_000
SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("event", pa.string()),
        ("amount", pa.float64()),
        ("session", pa.string()),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
    ]
)
READ = pj.ReadOptions(use_threads=True, block_size=8 << 20)
PARSE = pj.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore")


def write(values, folder):
    table = pj.read_json(pa.BufferReader(b"\n".join(values)), read_options=READ, parse_options=PARSE)
    table = table.set_column(2, "amount", pc.round(table["amount"], 2).cast(pa.decimal128(15, 2), safe=False))
    days = pc.floor_temporal(table["timestamp"], unit="day")
    for day in pc.unique(days).to_pylist():
        part = table.filter(pc.equal(days, pa.scalar(day, days.type)))
        path = f"{folder}/year={day:%Y}/month={day:%m}/day={day:%d}"
        os.makedirs(path, exist_ok=True)
        pq.write_table(part, f"{path}/data_{uuid.uuid4().hex}.parquet", compression="snappy")


def main():
    bootstrap, topic, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"bench.rival.{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "queued.min.messages": 1_000_000,
            "queued.max.messages.kbytes": 262_144,
            "fetch.queue.backoff.ms": 5,
            "fetch.message.max.bytes": 4 << 20,
            "fetch.max.bytes": 64 << 20,
            "check.crcs": False,
        }
    )
    started = [0.0]
    consumer.subscribe([topic], on_assign=lambda *_: started.__setitem__(0, time.monotonic()))
    # Parsing and writing release the interpreter's lock: a second thread does them while this one consumes.
    work = Queue(maxsize=1)
    failures = []

    def run():
        while (values := work.get()) is not None:
            if failures:
                continue
            try:
                write(values, folder)
                consumer.commit(asynchronous=True)
            except Exception as failure:
                failures.append(failure)

    writer = threading.Thread(target=run)
    writer.start()
    values, messages = [], 0
    while messages < count and not failures:
        for message in consumer.consume(10_000, timeout=1.0):
            if message.error():
                raise SystemExit(str(message.error()))
            values.append(message.value())
            messages += 1
        if len(values) >= BATCH_ROWS:
            work.put(values)
            values = []
    if values:
        work.put(values)
    work.put(None)
    writer.join()
    if failures:
        raise failures[0]
    print(json.dumps({"ms": (time.monotonic() - started[0]) * 1000, "messages": messages}))
    consumer.close()


main()
