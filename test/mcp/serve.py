#!/usr/bin/python3
"""The least that lets clients speak with evq_mcp() of the database in the environment by stdio: messages by line, writing
allowed.
"""
import sys

import psycopg2

session = psycopg2.connect('')
for line in sys.stdin:
    with session, session.cursor() as cursor:
        cursor.execute('SELECT answer FROM evq_mcp(NULL, %s, true)', (line,))
        answer, = cursor.fetchone()
    if answer is not None:
        print(answer, flush=True)
