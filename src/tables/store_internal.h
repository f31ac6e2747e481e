/*
 * store_internal.h
 *		An open store, for the modules of this folder that read and write its rows.
 */
#ifndef EVQ_STORE_INTERNAL_H
#define EVQ_STORE_INTERNAL_H

#include "access/genam.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "base/compat.h"
#include "tables/store.h"
#include "tables/tables.h"

/* Rows that one call of the table access method inserts, and payloads of so many bytes, or one more. */
#define INSERT_BATCH 50
#define INSERT_BATCH_BYTES (1024 * 1024)

/* A table of an open store. */
typedef struct EvqStoreTable
{
	EvqTableNo no;
	Relation rel; /* NULL = not opened yet, as with all below */
	EvqColumnMap map;
	TupleTableSlot *slot; /* the row fetched last */
	TupleTableSlot *row;  /* evq's columns of it; the same slot where the table has no others */
	TupleTableSlot *new_slot;
	TupleTableSlot *lock_slot; /* see lock_row(); NULL = not needed yet */
	ExprState **defaults;      /* of columns of users */
	ResultRelInfo *info;       /* with all indexes but unused_index: to add entries to them */
	Oid unused_index;          /* see evq_store_use_group_index(); InvalidOid = none */
	TupleTableSlot **batch;    /* of INSERT_BATCH rows to insert */
	Relation key;              /* see evq_store_use_key() */
	IndexScanDesc by_key;
	pg_uuid_t first_key; /* of a range that is read by it, see runs.c */
	pg_uuid_t last_key;
	IndexFetchTableData *by_hint;
	BlockNumber blocks; /* so many there were when by_hint was begun */
	bool is_empty;      /* see delete_rows_of() */
	bool is_filled;     /* see evq_store_is_empty() */
} EvqStoreTable;

struct EvqStore
{
	MemoryContext context; /* of all below: the caller may free what it reads, row by row */
	LOCKMODE lock;         /* of the tables: what a verb needs to write, or a reader to read */
	EState *estate;
	EvqStoreTable *tables[EVQ_TABLE_COUNT]; /* NULL = nobody asked for it, see evq_store_table() */
	Relation walk_index;
	IndexScanDesc walk;
	TupleTableSlot *walk_slot;
	TupleTableSlot *walk_row;   /* as in EvqStoreTable */
	MemoryContext walk_context; /* of the strings of the row met last */
	ScanKeyData walk_from[2];   /* where the walk begins, as does the next */
	pg_uuid_t walk_from_id;
	SnapshotData dirty;       /* see runs.c */
	bool passes_over_changed; /* see evq_store_pass_over_changed() */
	bool sees_present;        /* see evq_store_see_present() */
	bool batching;            /* rows of finished events are collected, */
	int collected;            /* so many by now */
};

/* As evq_store_use_partition(). */
typedef EvqStoreTable *(*EvqUsePartition)(EvqStore *store, EvqTableNo no, Oid relid);

extern bool evq_store_keeps_snapshot(const EvqStore *store);
extern void evq_store_end_walk(EvqStore *store);
extern EvqStoreTable *evq_store_table(EvqStore *store, EvqTableNo no);
extern void evq_store_close_table(EvqStoreTable *table, LOCKMODE lock);
extern void evq_store_take_table(EvqStore *store, EvqTableNo no, Relation rel, const EvqColumnMap *map);
extern EvqStoreTable *evq_store_use_table(EvqStore *store, EvqTableNo no);
extern EvqStoreTable *evq_store_use_partition(EvqStore *store, EvqTableNo no, Oid relid);
extern EvqStoreTable *evq_store_use_partition_at(EvqStore *store, EvqTableNo no, TimestampTz at,
												 const char *what, EvqUsePartition use);
extern bool evq_store_is_empty(EvqStoreTable *table);
extern void evq_store_use_indexes(EvqStore *store, EvqStoreTable *table);
extern void evq_store_use_group_index(EvqStore *store, EvqStoreTable *table);
extern bool evq_store_is_too_young(Relation index);
extern void evq_store_check_index(Relation index);
extern Relation evq_store_open_index(Relation rel, const char *name, LOCKMODE lock);
extern Relation evq_store_use_key(const EvqStore *store, EvqStoreTable *table);

#endif /* EVQ_STORE_INTERNAL_H */
