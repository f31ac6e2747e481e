/*
 * walk.c
 *		Walks over live events in the order of an index.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "tables/events_internal.h"
#include "tables/rows.h"
#include "tables/walk.h"

#define DUE_INDEX "event_flow_no_attempt_scheduled_at_idx"
#define FLOW_ID_INDEX "event_flow_no_flow_id_event_id_idx"

/* An index of the events that is open; NULL = there is none of this name. */
static Relation
find_index(const EvqStoreTable *table, const char *name)
{
	for (int i = 0; i < table->info->ri_NumIndices; i++)
	{
		if (strcmp(RelationGetRelationName(table->info->ri_IndexRelationDescs[i]), name) == 0)
			return table->info->ri_IndexRelationDescs[i];
	}
	return NULL;
}

/* Chooses the index to walk over. */
static void
choose_walk_index(EvqStore *store, const char *name)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);

	evq_walk_end(store);
	evq_store_use_indexes(store, table);
	if (strcmp(name, EVQ_GROUP_INDEX) == 0)
		evq_store_use_group_index(store, table);
	store->walk_index = find_index(table, name);
	if (store->walk_index == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("index evq.%s does not exist", name),
						errhint("Create it again as the extension did.")));
}

static void
begin_walk(EvqStore *store, ScanKey keys, int key_count)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);
	Relation index = store->walk_index;
	MemoryContext previous = MemoryContextSwitchTo(store->context);

	if (evq_store_is_too_young(index) && !evq_store_keeps_snapshot(store))
		evq_store_refresh(store);
	evq_store_check_index(index);
	store->walk_index = index;
	if (store->walk_slot == NULL)
	{
		store->walk_slot = table_slot_create(table->rel, NULL);
		store->walk_context = AllocSetContextCreate(store->context, "evq walk", ALLOCSET_SMALL_SIZES);
		store->walk_row = table->map.is_plain ? store->walk_slot : evq_tables_make_slot(EVQ_TABLE_EVENT);
	}
	store->walk = EVQ_INDEX_BEGINSCAN(table->rel, store->walk_index, GetActiveSnapshot(), key_count);
	index_rescan(store->walk, keys, key_count, NULL, 0);
	MemoryContextSwitchTo(previous);
}

/* Can a walk over due events begin within an instant? Otherwise, until the extension is updated, it begins with all of it. */
bool
evq_walk_splits_instants(const EvqStore *store)
{
	return RelationGetNumberOfAttributes(store->walk_index) > 2;
}

/*
 * Makes a key of an index (..., time, id), whose time is its column "column": from a position on,
 * (time, id) >= (...). The two members, and the id, have to live as long as the scan.
 */
void
evq_walk_set_position(ScanKey key, ScanKey members, int column, TimestampTz at, const pg_uuid_t *id)
{
	ScanKeyInit(&members[0], column, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_CMP,
				TimestampTzGetDatum(at));
	ScanKeyInit(&members[1], column + 1, BTGreaterEqualStrategyNumber, F_UUID_CMP, UUIDPGetDatum(id));
	members[0].sk_flags = SK_ROW_MEMBER;
	members[1].sk_flags = SK_ROW_MEMBER | SK_ROW_END;
	memset(key, 0, sizeof(ScanKeyData));
	key->sk_flags = SK_ROW_HEADER;
	key->sk_attno = column;
	key->sk_strategy = BTGreaterEqualStrategyNumber;
	key->sk_argument = PointerGetDatum(members);
}

/*
 * Begins a walk over the live events of a flow whose next attempt is due from a
 * position in its line on, earliest first. A store has one walk at a time; it ends
 * with evq_walk_end(), the next one or evq_store_refresh(). Raises an error where the
 * index is missing or cannot be searched.
 */
void
evq_walk_due(EvqStore *store, int32 flow_no, const EvqDuePosition *from)
{
	ScanKeyData keys[2];

	choose_walk_index(store, DUE_INDEX);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(flow_no));
	if (!evq_walk_splits_instants(store))
		ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
					TimestampTzGetDatum(from->at));
	else
	{
		store->walk_from_id = from->event_id;
		evq_walk_set_position(&keys[1], store->walk_from, 2, from->at, &store->walk_from_id);
	}
	begin_walk(store, keys, 2);
}

/* Makes the keys of an index (flow_no, text, ...); the text lives as long as the store, and so as long as the scan. */
static void
set_text_keys(EvqStore *store, ScanKey keys, int32 flow_no, const char *text)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(flow_no));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(text));
	keys[1].sk_collation = DEFAULT_COLLATION_OID;
	MemoryContextSwitchTo(previous);
}

/* The same as evq_walk_due() over the events of one group. */
void
evq_walk_group(EvqStore *store, int32 flow_no, const char *group_key, const EvqDuePosition *from)
{
	ScanKeyData keys[3];

	choose_walk_index(store, EVQ_GROUP_INDEX);
	set_text_keys(store, keys, flow_no, group_key);
	store->walk_from_id = from->event_id;
	evq_walk_set_position(&keys[2], store->walk_from, 3, from->at, &store->walk_from_id);
	begin_walk(store, keys, 3);
}

/* The same over the live ordered events of one flow_id, in publish order. */
void
evq_walk_flow_id(EvqStore *store, int32 flow_no, const char *flow_id)
{
	ScanKeyData keys[2];

	set_text_keys(store, keys, flow_no, flow_id);
	choose_walk_index(store, FLOW_ID_INDEX);
	begin_walk(store, keys, 2);
}

static bool
walk_on(EvqStore *store, ItemPointerData *root)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	bool found = evq_rows_next(store->walk, &evq_store_table(store, EVQ_TABLE_EVENT)->map, store->walk_slot,
							   store->walk_row, root);

	MemoryContextSwitchTo(previous);
	return found;
}

/* The next event of the walk; false = there is none. Its strings hold until the one after it is asked for, or the store is closed. */
bool
evq_walk_next(EvqStore *store, EvqEvent *event)
{
	ItemPointerData root;
	bool found = walk_on(store, &root);
	MemoryContext previous = CurrentMemoryContext;

	if (found)
	{
		MemoryContextReset(store->walk_context);
		MemoryContextSwitchTo(store->walk_context);
		evq_events_read_live(store->walk_row, event);
		event->tid = root;
	}
	MemoryContextSwitchTo(previous);
	return found;
}

/* The same without its strings, and what comes behind them in the row: these are not set, and the group key is none. */
bool
evq_walk_next_briefly(EvqStore *store, EvqEvent *event)
{
	ItemPointerData root;

	if (!walk_on(store, &root))
		return false;
	evq_events_read_briefly(store->walk_row, event);
	evq_events_move_lifespan(event);
	event->tid = root;
	return true;
}

/* Has this transaction written what the walk has just met? */
bool
evq_walk_is_own(const EvqStore *store)
{
	bool is_null;

	return TransactionIdIsCurrentTransactionId(
		DatumGetTransactionId(slot_getsysattr(store->walk_slot, MinTransactionIdAttributeNumber, &is_null)));
}

/* Ends the walk under way, if any. */
void
evq_walk_end(EvqStore *store)
{
	evq_store_end_walk(store);
}
