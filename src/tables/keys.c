/*
 * keys.c
 *		Idempotency keys.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "tables/keys.h"
#include "tables/rows.h"

/* Enters an idempotency key, unless it is there. */
static bool
insert_key(const Datum *values)
{
	static SPIPlanPtr plan;
	Oid types[KEY_COLUMNS] = {INT4OID, TEXTOID, UUIDOID, INT8OID};
	EvqIdentity previous;
	bool inserted;

	evq_tables_become_owner(&previous);
	if (plan == NULL)
	{
		SPIPlanPtr fresh = SPI_prepare(
			"INSERT INTO evq.idempotency VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", KEY_COLUMNS, types);

		if (fresh == NULL || SPI_keepplan(fresh) != 0)
			elog(ERROR, "could not prepare the claim of an idempotency key");
		plan = fresh;
	}
	if (SPI_execute_plan(plan, unconstify(Datum *, values), NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not claim an idempotency key");
	inserted = SPI_processed == 1;
	evq_tables_become_oneself(&previous);
	UpdateActiveSnapshotCommandId();
	return inserted;
}

/* Reads the row of an idempotency key; false = there is none. */
static bool
fetch_key(EvqStore *store, Datum event_type_no, Datum key, pg_uuid_t *event_id, int64 *content_hash)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_IDEMPOTENCY);
	Relation index = evq_store_open_index(table->rel, NULL, store->lock);
	ScanKeyData keys[2];
	IndexScanDesc scan;
	bool found;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, event_type_no);
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, key);
	keys[1].sk_collation = DEFAULT_COLLATION_OID;
	scan = EVQ_INDEX_BEGINSCAN(table->rel, index, GetActiveSnapshot(), 2);
	index_rescan(scan, keys, 2, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, table->slot);
	if (found)
	{
		evq_rows_read(&table->map, table->slot, table->row);
		*event_id = *DatumGetUUIDP(table->row->tts_values[KEY_EVENT_ID]);
		*content_hash = DatumGetInt64(table->row->tts_values[KEY_CONTENT_HASH]);
	}
	ExecClearTuple(table->slot);
	index_endscan(scan);
	index_close(index, NoLock);
	return found;
}

/*
 * Claims an idempotency key for an event. false = the key is taken; first_id and
 * first_hash are then those of the event that has it. A key that another transaction
 * is claiming, or deleting with its event, is waited for; who claims several does so
 * in one order. A transaction that keeps its snapshot may get a serialization
 * failure.
 */
bool
evq_keys_claim(EvqStore *store, int32 event_type_no, const char *key, const pg_uuid_t *event_id,
			   int64 content_hash, pg_uuid_t *first_id, int64 *first_hash)
{
	Datum values[KEY_COLUMNS] = {Int32GetDatum(event_type_no), CStringGetTextDatum(key),
								 UUIDPGetDatum(event_id), Int64GetDatum(content_hash)};

	/* It is SQL that writes; the table is looked at as the others are. */
	(void) evq_store_use_table(store, EVQ_TABLE_IDEMPOTENCY);
	for (;;)
	{
		if (insert_key(values))
			return true;
		if (!evq_store_keeps_snapshot(store))
			evq_store_refresh(store);
		if (fetch_key(store, values[0], values[1], first_id, first_hash))
			return false;
		/* It is gone again, or our snapshot is too old to see it. */
		if (evq_store_keeps_snapshot(store))
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("could not serialize access to idempotency key \"%s\"", key),
							errhint("Retry the transaction.")));
	}
}
