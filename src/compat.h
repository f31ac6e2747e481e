/*
 * compat.h
 *		Differences between PostgreSQL versions, and nothing else.
 */
#ifndef EVQ_COMPAT_H
#define EVQ_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "evq needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "access/tableam.h"

typedef TU_UpdateIndexes EvqUpdateIndexes;
#define EVQ_UPDATES_INDEXES(u) ((u) != TU_None)
#define EVQ_INSERT_INDEX_TUPLES(info, slot, estate, update, updated) \
	ExecInsertIndexTuples(info, slot, estate, update, false, NULL, NIL, (updated) == TU_Summarizing)
#define EVQ_ALL_INDEXES TU_All
#define EVQ_MOVES_ROW(u) ((u) == TU_All)
#else
typedef bool EvqUpdateIndexes;
#define EVQ_UPDATES_INDEXES(u) (u)
#define EVQ_INSERT_INDEX_TUPLES(info, slot, estate, update, updated) \
	ExecInsertIndexTuples(info, slot, estate, update, false, NULL, NIL)
#define EVQ_ALL_INDEXES true
#define EVQ_MOVES_ROW(u) (u)
#endif

#if PG_VERSION_NUM >= 160000
#define EVQ_IS_DATABASE_OWNER(database, role) object_ownercheck(DatabaseRelationId, database, role)
#else
#define EVQ_IS_DATABASE_OWNER(database, role) pg_database_ownercheck(database, role)
#endif

#if PG_VERSION_NUM >= 180000
#define EVQ_INDEX_BEGINSCAN(heap, index, snapshot, keys) index_beginscan(heap, index, snapshot, NULL, keys, 0)
#define EVQ_PRIMARY_KEY_INDEX(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define EVQ_INDEX_BEGINSCAN(heap, index, snapshot, keys) index_beginscan(heap, index, snapshot, keys, 0)
#define EVQ_PRIMARY_KEY_INDEX(rel) RelationGetPrimaryKeyIndex(rel)
#endif

#endif /* EVQ_COMPAT_H */
