/*
 * home.c
 *		Whether this database is the one that its data was written in, or a copy of it.
 *
 * evq.home says where the data was last at home: in which database, and from
 * which base backup its server had been started. Another database was made
 * from a template. A base backup not named there, of the timeline that goes on,
 * was started beside or instead of the server that it was taken from; a standby
 * or a recovery from an archive goes on with a timeline of its own.
 *
 * A copy is paused, as a restored dump is, and begins an epoch, so that no
 * permit of the original holds in it. Where nothing waits there is nothing to
 * pause for.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "tables/home.h"
#include "tables/tables.h"

#define BACKUP_LABEL "backup_label.old"
#define MAX_BACKUP_LABEL 8192

typedef struct Home
{
	Oid database_oid;
	const char *backup_label;
} Home;

static bool settled;
static bool settled_by_this_transaction;

static void
forget(XactEvent event, void *arg)
{
	/* What was prepared may be rolled back by anybody, who tells us nothing. */
	if ((event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE) && settled_by_this_transaction)
		settled = false;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		settled_by_this_transaction = false;
}

static void
forget_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && settled_by_this_transaction)
		settled = false;
}

/* Has the answer forgotten when it is rolled back. Called by _PG_init(). */
void
evq_home_init(void)
{
	RegisterXactCallback(forget, NULL);
	RegisterSubXactCallback(forget_subtransaction, NULL);
}

/*
 * What names the base backup that this server was started from, if any: "" =
 * none. The file does not change while the server runs. Its text is in the
 * encoding of whoever made the backup, and is kept as evq.home has it: escaped.
 */
static const char *
read_backup_label(void)
{
	bytea *label = palloc0(VARHDRSZ + MAX_BACKUP_LABEL);
	size_t length;
	FILE *file = AllocateFile(BACKUP_LABEL, PG_BINARY_R);

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(ERROR,
					(errcode_for_file_access(), errmsg("could not open file \"%s\": %m", BACKUP_LABEL)));
		return "";
	}
	length = fread(VARDATA(label), 1, MAX_BACKUP_LABEL, file);
	if (length == 0 && ferror(file))
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not read file \"%s\": %m", BACKUP_LABEL)));
	FreeFile(file);
	SET_VARSIZE(label, VARHDRSZ + length);
	return TextDatumGetCString(
		DirectFunctionCall2(binary_encode, PointerGetDatum(label), CStringGetTextDatum("escape")));
}

/* Was the backup taken on the timeline that this server writes? */
static bool
is_of_this_timeline(const char *backup_label)
{
	const char *line = strstr(backup_label, "START TIMELINE: ");

	return line != NULL &&
		   strtoul(line + strlen("START TIMELINE: "), NULL, 10) == (unsigned long) GetWALInsertionTimeLine();
}

static void
read_home(TupleTableSlot *slot, void *row)
{
	Home *home = row;

	home->database_oid = DatumGetObjectId(slot->tts_values[HOME_DATABASE_OID]);
	home->backup_label = TextDatumGetCString(slot->tts_values[HOME_BACKUP_LABEL]);
}

/* Writes that the data is at home here; false = another session has just done it. */
static bool
move_home(const Home *from, const Home *to)
{
	Oid types[] = {OIDOID, TEXTOID, OIDOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(to->database_oid), CStringGetTextDatum(to->backup_label),
					  ObjectIdGetDatum(from->database_oid), CStringGetTextDatum(from->backup_label)};

	if (SPI_execute_with_args("UPDATE evq.home SET database_oid = $1, backup_label = $2 "
							  "WHERE database_oid OPERATOR(pg_catalog.=) $3 "
							  "AND backup_label OPERATOR(pg_catalog.=) $4",
							  lengthof(types), types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update evq.home");
	return SPI_processed == 1;
}

/* Is there anything that would go on by itself? */
static bool
something_waits(void)
{
	bool is_null;

	if (SPI_execute(evq_tables_has("backlog")
						? "SELECT EXISTS (SELECT FROM evq.event) OR EXISTS (SELECT FROM evq.backlog) OR"
						  " EXISTS (SELECT FROM evq.schedule)"
						: "SELECT EXISTS (SELECT FROM evq.event) OR EXISTS (SELECT FROM evq.schedule)",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for what waits");
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
}

static void
pause_copy(const char *reason)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(reason)};

	if (SPI_execute_with_args(
			"INSERT INTO evq.pause VALUES (pg_catalog.clock_timestamp(), $1) ON CONFLICT DO NOTHING", 1,
			types, values, NULL, false, 0) != SPI_OK_INSERT ||
		SPI_execute("INSERT INTO evq.epoch SELECT epoch OPERATOR(pg_catalog.+) 1, system_identifier, "
					"database_oid, event_table_oid, timeline FROM evq.epoch ORDER BY epoch DESC LIMIT 1",
					false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not pause a copy");
	ereport(WARNING,
			(errmsg("evq is paused in this database, which is a copy"), errdetail("It was %s.", reason),
			 errhint("If this is to be the database that works, call evq_resume().")));
}

/*
 * Finds out, once a process, whether this database is a copy, before anything is
 * published, dispatched or acquired in it. A copy is paused, with a new epoch and a
 * warning, if something waits in it. Does nothing where it cannot write. Needs a
 * transaction.
 */
void
evq_home_settle(void)
{
	EvqIdentity previous;
	Home *homes;
	Home here;

	if (settled || RecoveryInProgress() || XactReadOnly || IsInParallelMode() ||
		!OidIsValid(evq_tables_relid(EVQ_TABLE_HOME, true)))
		return;
	if (evq_tables_read_all(EVQ_TABLE_HOME, read_home, sizeof(Home), (void **) &homes) == 0)
		return;
	here.database_oid = MyDatabaseId;
	here.backup_label = read_backup_label();
	if (here.backup_label[0] == '\0')
		here.backup_label = homes->backup_label;

	settled = true;
	if (homes->database_oid == here.database_oid && strcmp(homes->backup_label, here.backup_label) == 0)
		return;

	settled_by_this_transaction = true;
	evq_tables_become_owner(&previous);
	if (move_home(homes, &here))
	{
		bool is_started_backup = strcmp(homes->backup_label, here.backup_label) != 0 &&
								 is_of_this_timeline(here.backup_label);

		if ((homes->database_oid != here.database_oid || is_started_backup) && something_waits())
			pause_copy(is_started_backup ? "started from a base backup" : "created from another database");
	}
	evq_tables_become_oneself(&previous);
}
