/*
 * columns.c
 *		Where a table has evq's columns.
 *
 * C code counts columns as evq made them. A user may add one, and drop it
 * again, which leaves a gap for ever; a later version of evq adds its own
 * behind both; a partition that was made elsewhere has another order. So
 * columns are found by name, where a table is not plainly as it was made.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_attribute.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "tables/columns.h"

static bool
is_column(Form_pg_attribute attribute, const EvqColumn *column)
{
	return !attribute->attisdropped && strcmp(NameStr(attribute->attname), column->name) == 0;
}

static bool
is_plain(TupleDesc row_type, const EvqColumn *columns, int count)
{
	if (row_type->natts != count)
		return false;
	for (int i = 0; i < count; i++)
	{
		if (!is_column(TupleDescAttr(row_type, i), &columns[i]))
			return false;
	}
	return true;
}

static AttrNumber
find_column(TupleDesc row_type, const EvqColumn *column)
{
	for (int i = 0; i < row_type->natts; i++)
	{
		if (is_column(TupleDescAttr(row_type, i), column))
			return i + 1;
	}
	return InvalidAttrNumber;
}

/* Refuses a column that evq's code would misread. */
static void
check_column(Relation rel, AttrNumber number, const EvqColumn *column)
{
	Form_pg_attribute attribute;

	if (number == InvalidAttrNumber && column->kind == EVQ_COLUMN_LATER)
		return;
	if (number == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table evq.%s has no column %s", RelationGetRelationName(rel), column->name),
				 errhint(
					 "Run ALTER EXTENSION evq UPDATE if the extension is older than its library; otherwise "
					 "add the column again as the extension made it.")));
	attribute = TupleDescAttr(RelationGetDescr(rel), number - 1);
	if (attribute->atttypid != column->type)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column %s of table evq.%s is not of type %s", column->name,
							   RelationGetRelationName(rel), format_type_be(column->type)),
						errhint("Give it back the type that the extension made it with.")));
	if (column->kind == EVQ_COLUMN_REQUIRED && !attribute->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column %s of table evq.%s may be null", column->name, RelationGetRelationName(rel)),
				 errhint("ALTER TABLE evq.%s ALTER COLUMN %s SET NOT NULL.", RelationGetRelationName(rel),
						 column->name)));
}

/* Is a column of the table one of evq's? */
bool
evq_columns_has(const EvqColumnMap *map, AttrNumber number)
{
	for (int i = 0; i < map->count; i++)
	{
		if (map->numbers[i] == number)
			return true;
	}
	return false;
}

/* What there is in the table besides evq's columns. */
static void
look_for_others(TupleDesc row_type, EvqColumnMap *map)
{
	map->has_others = false;
	map->is_generated = row_type->constr != NULL && row_type->constr->has_generated_stored;
	for (int i = 0; i < row_type->natts && !map->is_plain; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(row_type, i);

		if (attribute->attisdropped || evq_columns_has(map, i + 1))
			continue;
		map->has_others = true;
		map->is_constrained |= attribute->attnotnull;
	}
}

/* Finds evq's columns, "count" of them, in a table. Raises an error, with what to do, if one cannot be used. */
void
evq_columns_map(Relation rel, const EvqColumn *columns, int count, EvqColumnMap *map)
{
	TupleDesc row_type = RelationGetDescr(rel);

	Assert(count <= EVQ_MAX_COLUMNS);
	map->count = count;
	map->is_plain = is_plain(row_type, columns, count);
	map->is_constrained = row_type->constr != NULL && row_type->constr->num_check > 0;
	for (int i = 0; i < count; i++)
	{
		map->numbers[i] = map->is_plain ? i + 1 : find_column(row_type, &columns[i]);
		check_column(rel, map->numbers[i], &columns[i]);
		if (map->numbers[i] != InvalidAttrNumber && columns[i].kind != EVQ_COLUMN_REQUIRED)
			map->is_constrained |= TupleDescAttr(row_type, map->numbers[i] - 1)->attnotnull;
	}
	look_for_others(row_type, map);
}

/* A slot for rows with evq's columns alone, in evq's order, in the current memory context; the caller drops it. */
TupleTableSlot *
evq_columns_make_slot(const EvqColumn *columns, int count)
{
	TupleDesc row_type = CreateTemplateTupleDesc(count);

	for (int i = 0; i < count; i++)
		TupleDescInitEntry(row_type, i + 1, columns[i].name, columns[i].type, -1, 0);
	return MakeSingleTupleTableSlot(row_type, &TTSOpsVirtual);
}

/* Puts evq's columns of a row into such a slot; it holds as long as the row's own. */
void
evq_columns_read(const EvqColumnMap *map, TupleTableSlot *from, TupleTableSlot *to)
{
	slot_getallattrs(from);
	ExecClearTuple(to);
	for (int i = 0; i < map->count; i++)
	{
		AttrNumber number = map->numbers[i];

		to->tts_isnull[i] = number == InvalidAttrNumber || from->tts_isnull[number - 1];
		to->tts_values[i] = to->tts_isnull[i] ? (Datum) 0 : from->tts_values[number - 1];
	}
	ExecStoreVirtualTuple(to);
}
