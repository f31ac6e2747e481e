/*
 * compat.h
 *		Differences between PostgreSQL versions, and nothing else.
 */
#ifndef EVQ_COMPAT_H
#define EVQ_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "evq needs PostgreSQL 15 or later"
#endif

#if SIZEOF_VOID_P < 8
#error "evq needs PostgreSQL on a machine of 64 bits: it is tested on no other"
#endif

#include "access/tableam.h"
#include "utils/jsonb.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes EvqUpdateIndexes;
#define EVQ_UPDATES_INDEXES(u) ((u) != TU_None)
#define EVQ_ALL_INDEXES TU_All
#define EVQ_MOVES_ROW(u) ((u) == TU_All)
#else
typedef bool EvqUpdateIndexes;
#define EVQ_UPDATES_INDEXES(u) (u)
#define EVQ_ALL_INDEXES true
#define EVQ_MOVES_ROW(u) (u)
#endif

#if PG_VERSION_NUM >= 190000
#define EVQ_INSERT_INDEX_TUPLES(info, slot, estate, update, updated)                     \
	ExecInsertIndexTuples(info, estate,                                                  \
						  ((update) ? EIIT_IS_UPDATE : 0) |                              \
							  ((updated) == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0), \
						  slot, NIL, NULL)
#elif PG_VERSION_NUM >= 160000
#define EVQ_INSERT_INDEX_TUPLES(info, slot, estate, update, updated) \
	ExecInsertIndexTuples(info, slot, estate, update, false, NULL, NIL, (updated) == TU_Summarizing)
#else
#define EVQ_INSERT_INDEX_TUPLES(info, slot, estate, update, updated) \
	ExecInsertIndexTuples(info, slot, estate, update, false, NULL, NIL)
#endif

#if PG_VERSION_NUM >= 160000
#define EVQ_IS_DATABASE_OWNER(database, role) object_ownercheck(DatabaseRelationId, database, role)
#else
#define EVQ_IS_DATABASE_OWNER(database, role) pg_database_ownercheck(database, role)
#endif

#if PG_VERSION_NUM >= 190000
#define EVQ_INDEX_BEGINSCAN(heap, index, snapshot, keys) \
	index_beginscan(heap, index, snapshot, NULL, keys, 0, 0)
#elif PG_VERSION_NUM >= 180000
#define EVQ_INDEX_BEGINSCAN(heap, index, snapshot, keys) index_beginscan(heap, index, snapshot, NULL, keys, 0)
#else
#define EVQ_INDEX_BEGINSCAN(heap, index, snapshot, keys) index_beginscan(heap, index, snapshot, keys, 0)
#endif

#if PG_VERSION_NUM >= 180000
#define EVQ_PRIMARY_KEY_INDEX(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define EVQ_PRIMARY_KEY_INDEX(rel) RelationGetPrimaryKeyIndex(rel)
#endif

#if PG_VERSION_NUM >= 190000
#define EVQ_TABLE_BEGINSCAN(rel, snapshot) table_beginscan(rel, snapshot, 0, NULL, 0)
#define EVQ_TABLE_UPDATE(rel, tid, slot, command, snapshot, wait, failure, lock_mode, updated)          \
	table_tuple_update(rel, tid, slot, command, 0, snapshot, InvalidSnapshot, wait, failure, lock_mode, \
					   updated)
#define EVQ_TABLE_DELETE(rel, tid, command, snapshot, wait, failure) \
	table_tuple_delete(rel, tid, command, 0, snapshot, InvalidSnapshot, wait, failure)
#else
#define EVQ_TABLE_BEGINSCAN(rel, snapshot) table_beginscan(rel, snapshot, 0, NULL)
#define EVQ_TABLE_UPDATE(rel, tid, slot, command, snapshot, wait, failure, lock_mode, updated) \
	table_tuple_update(rel, tid, slot, command, snapshot, InvalidSnapshot, wait, failure, lock_mode, updated)
#define EVQ_TABLE_DELETE(rel, tid, command, snapshot, wait, failure) \
	table_tuple_delete(rel, tid, command, snapshot, InvalidSnapshot, wait, failure, false)
#endif

/* What builds a jsonb value; result is the value when it is complete. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState EvqJsonbBuilder;
#define EVQ_JSONB_PUSH(builder, token, value) pushJsonbValue(builder, token, value)
#else
typedef struct EvqJsonbBuilder
{
	JsonbParseState *state;
	JsonbValue *result;
} EvqJsonbBuilder;
#define EVQ_JSONB_PUSH(builder, token, value) \
	((void) ((builder)->result = pushJsonbValue(&(builder)->state, token, value)))
#endif

/* A wait event with a name of its own, which pg_stat_activity shows from PostgreSQL 17 on. known: 0 at first. */
static inline uint32
evq_wait_event(uint32 *known, const char *name)
{
#if PG_VERSION_NUM >= 170000
	if (*known == 0)
		*known = WaitEventExtensionNew(name);
	return *known;
#else
	return PG_WAIT_EXTENSION;
#endif
}

#endif /* EVQ_COMPAT_H */
