/*
 * columns.h
 *		Where a table has evq's columns: as evq made it, or beside columns of users and gaps of dropped ones.
 */
#ifndef EVQ_COLUMNS_H
#define EVQ_COLUMNS_H

#include "access/attnum.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"

#define EVQ_MAX_COLUMNS 48

typedef enum EvqColumnKind
{
	EVQ_COLUMN_REQUIRED, /* NOT NULL */
	EVQ_COLUMN_NULLABLE,
	EVQ_COLUMN_LATER /* nullable, and tables of an older version do not have it: then it is NULL */
} EvqColumnKind;

typedef struct EvqColumn
{
	const char *name;
	Oid type;
	EvqColumnKind kind;
} EvqColumn;

typedef struct EvqColumnMap
{
	bool is_plain; /* the table has evq's columns, in evq's order, and no others: the rest says nothing new */
	bool has_others;                     /* it has columns of users too, */
	bool is_generated;                   /* some of them generated */
	bool is_constrained;                 /* a CHECK or NOT NULL of a user is to be heeded */
	int count;                           /* of evq's columns */
	AttrNumber numbers[EVQ_MAX_COLUMNS]; /* where the table has them, 0 = nowhere */
} EvqColumnMap;

extern void evq_columns_map(Relation rel, const EvqColumn *columns, int count, EvqColumnMap *map);
extern bool evq_columns_has(const EvqColumnMap *map, AttrNumber number);
extern TupleTableSlot *evq_columns_make_slot(const EvqColumn *columns, int count);
extern void evq_columns_read(const EvqColumnMap *map, TupleTableSlot *from, TupleTableSlot *to);

#endif /* EVQ_COLUMNS_H */
