/*
 * audit.c
 *		Who changed an event by hand.
 *
 * The verbs in SQL write the audit themselves; sql/parts/039_audit.sql has the
 * table.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "tables/audit.h"
#include "tables/tables.h"

static SPIPlanPtr record_plan;

/* Notes in the audit that the current user did this with an event. reason: NULL = none was given. */
void
evq_audit_event(const char *verb, const pg_uuid_t *event_id, const char *reason)
{
	Oid types[] = {TEXTOID, UUIDOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(verb), UUIDPGetDatum(event_id),
					  reason == NULL ? (Datum) 0 : CStringGetTextDatum(reason)};
	const char nulls[] = {' ', ' ', reason == NULL ? 'n' : ' '};
	EvqIdentity previous;

	/* The tables may be of a version that knows no audit. */
	if (!evq_tables_has("audit_entry"))
		return;
	evq_tables_become_owner(&previous);
	if (record_plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare("SELECT evq.record($1, $2, NULL, CASE WHEN $3 IS NOT NULL THEN "
									  "pg_catalog.jsonb_build_object('reason', $3) END)",
									  lengthof(types), types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "cannot prepare the entry of the audit");
		record_plan = plan;
	}
	if (SPI_execute_plan(record_plan, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "no entry of the audit for %s", verb);
	evq_tables_become_oneself(&previous);
}
