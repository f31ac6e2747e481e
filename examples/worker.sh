#!/bin/sh
# A worker in any language: evq-worker runs the program ship-parcel once for each event of FLOW_PARCELS, two at a time.
# PGHOST, PGDATABASE, PGUSER ... say where. The role is a member of evq_worker and may insert into the table; shipments.sql
# makes both.
cd "$(dirname "$0")" && exec evq-worker --flow FLOW_PARCELS --concurrency 2 --name shell -- ./ship-parcel
