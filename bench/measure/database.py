"""The database of a run, and its server."""
import contextlib
import os
import subprocess
import time

import psycopg2

from settings import DATA, HERE, Wrong


def connect(database="bench"):
    db = psycopg2.connect(dbname=database)
    db.autocommit = True
    return db


def row(statement, *arguments, database="bench"):
    db = connect(database)
    try:
        sql = db.cursor()
        sql.execute(statement, arguments or None)
        return sql.fetchone() if sql.description else None
    finally:
        db.close()


def value(statement, *arguments, database="bench"):
    found = row(statement, *arguments, database=database)
    return found[0] if found else None


def psql(file, **variables):
    command = ["psql", "-X", "-q", "-t", "-d", "bench", "-o", os.devnull, "-v", "ON_ERROR_STOP=1",
               "-f", os.path.join(HERE, "contestants", file)]
    for name, text in variables.items():
        command += ["-v", f"{name}={text}"]
    subprocess.run(command, check=True)


def create(name="bench", template="template1"):
    drop(name)
    value(f"CREATE DATABASE {name} TEMPLATE {template}", database="postgres")


def drop(name="bench"):
    value(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")


def rename(old, new):
    value(f"ALTER DATABASE {old} RENAME TO {new}", database="postgres")


def wait_until(statement, complaint, seconds=30):
    end = time.monotonic() + seconds
    while not value(statement):
        if time.monotonic() > end:
            raise Wrong(complaint)
        time.sleep(0.05)


def read_files():
    """Has all of the database in the system's cache: some systems give up what nobody read for a minute."""
    folder = os.path.join(DATA, "base", str(value("SELECT oid FROM pg_database WHERE datname = current_database()")))
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, name), "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def wal_position():
    return value("SELECT pg_current_wal_insert_lsn() - '0/0'")


def tables_with(column, schema):
    db = connect()
    sql = db.cursor()
    sql.execute("SELECT attrelid::regclass::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
                " WHERE attname = %s AND relnamespace = %s::regnamespace AND relkind = 'r' ORDER BY attrelid", (column, schema))
    tables = [name for name, in sql.fetchall()]
    db.close()
    return tables


def multiply(table, key, sample, rows):
    """Copies the row whose key, a uuid, is sample, if there is one; keys and times of the copies ascend up to it."""
    columns = value("SELECT array_agg(ARRAY[attname::text, format_type(atttypid, NULL)] ORDER BY attnum) FROM pg_attribute"
                    " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''", table)

    def copied(name, kind):
        if name == key:
            return "lpad(to_hex(n), 32, '0')::uuid"
        if kind.startswith("timestamp"):        # infinity stays infinity
            return f"{name} - (%s - n) * interval '1 ms'"
        return name
    value(f"INSERT INTO {table} ({', '.join(name for name, _ in columns)})"
          f" SELECT {', '.join(copied(name, kind) for name, kind in columns)}"
          f" FROM (SELECT * FROM {table} WHERE {key} = %s) AS sample, generate_series(1, %s) AS n",
          *[rows] * sum(kind.startswith("timestamp") for _, kind in columns), sample, rows)
