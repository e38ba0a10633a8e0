# Reads the Parquet files of a feed together, by column name, with pandas, Polars, DuckDB and Spark, whatever schemas they were written by:
#   python3 -m venv v && v/bin/pip install pandas pyarrow polars duckdb pyspark && v/bin/python scripts/readers.py data_lake/streams/orders
# Prints for each reader how many rows there are, and of each column its type and how many values are not NULL.
import functools
import glob
import sys

FILES = sorted(glob.glob(f"{sys.argv[1]}/**/*.parquet", recursive=True))


def with_pandas():
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    schema = pa.unify_schemas([pq.read_schema(file) for file in FILES], promote_options="permissive")
    frame = ds.dataset(FILES, schema=schema, format="parquet").to_table().to_pandas()
    return len(frame), {field.name: (str(field.type), int(frame[field.name].notna().sum())) for field in schema}


def with_polars():
    import polars as pl

    frames = [pl.scan_parquet(file, hive_partitioning=False) for file in FILES]
    frame = pl.concat(frames, how="diagonal_relaxed").collect()
    return frame.height, {name: (str(kind), frame[name].count()) for name, kind in frame.schema.items()}


def with_duckdb():
    import duckdb

    source = f"read_parquet({FILES}, union_by_name = true, hive_partitioning = false)"
    columns = duckdb.execute(f"DESCRIBE FROM {source}").fetchall()
    counts = ", ".join(f'count("{name}")' for name, *_ in columns)
    rows, *values = duckdb.execute(f"SELECT count(*), {counts} FROM {source}").fetchone()
    return rows, {name: (kind, count) for (name, kind, *_), count in zip(columns, values)}


def with_spark():
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import col, count

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    frames = [spark.read.parquet(file) for file in FILES]
    frame = functools.reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)
    counts = frame.select([count(col(f"`{name}`")) for name in frame.columns]).first()
    return frame.count(), {name: (kind, counts[at]) for at, (name, kind) in enumerate(frame.dtypes)}


for name, read in (("pandas", with_pandas), ("polars", with_polars), ("duckdb", with_duckdb), ("spark", with_spark)):
    rows, columns = read()
    print(f"{name}\t{rows} rows\t" + ", ".join(f"{column} {kind} ({values})" for column, (kind, values) in columns.items()))
