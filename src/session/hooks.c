/*
 * hooks.c
 *		Commands that the engine must know of.
 *
 * DROP DATABASE, ALTER DATABASE and CREATE DATABASE ... TEMPLATE need a
 * database without other sessions: its dispatcher and its housekeeper leave
 * first and are kept away until the command has ended. COMMIT PREPARED may
 * do anything without a word: the dispatcher is told to look. DROP EXTENSION makes
 * it look whether the extension is still there, ALTER DATABASE whether its
 * database has become a template. Triggers, rules and foreign keys on tables that
 * evq's code writes are refused.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "session/hooks.h"
#include "session/pending.h"
#include "shared/shmem.h"
#include "tables/tables.h"

#define WAIT_STEP_MS 10
#define START_TIMEOUT (10 * USECS_PER_SEC)

static ProcessUtility_hook_type previous_utility_hook;
static object_access_hook_type previous_access_hook;

/* Slots of databases that this transaction keeps empty; NULL = there was none to be had. */
static List *held;

/* ---------- keeping dispatchers away ---------- */

static const char *
option_name(List *options, const char *name)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* May anybody who may make a database copy this one? */
static bool
is_template(Oid database)
{
	HeapTuple row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool answer = false;

	if (HeapTupleIsValid(row))
	{
		answer = ((Form_pg_database) GETSTRUCT(row))->datistemplate;
		ReleaseSysCache(row);
	}
	return answer;
}

static bool
may_make_databases(Oid role)
{
	HeapTuple row = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool answer = false;

	if (HeapTupleIsValid(row))
	{
		answer = ((Form_pg_authid) GETSTRUCT(row))->rolcreatedb;
		ReleaseSysCache(row);
	}
	return answer || superuser_arg(role);
}

/*
 * The database that the command needs for itself; InvalidOid = none, or none
 * that this user may do it to: the command itself will tell him so.
 */
static Oid
emptied_database(Node *statement)
{
	const char *name = NULL;
	bool is_copied = false;
	Oid database;

	if (IsA(statement, DropdbStmt))
		name = castNode(DropdbStmt, statement)->dbname;
	else if (IsA(statement, CreatedbStmt))
	{
		name = option_name(castNode(CreatedbStmt, statement)->options, "template");
		is_copied = true;
	}
	else if (IsA(statement, RenameStmt) && castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE)
		name = castNode(RenameStmt, statement)->subname;
	else if (IsA(statement, AlterDatabaseStmt))
	{
		AlterDatabaseStmt *alter = castNode(AlterDatabaseStmt, statement);

		if (option_name(alter->options, "tablespace") != NULL)
			name = alter->dbname;
	}
	database = name == NULL ? InvalidOid : get_database_oid(name, true);
	if (!OidIsValid(database) || EVQ_IS_DATABASE_OWNER(database, GetUserId()))
		return database;
	return is_copied && is_template(database) && may_make_databases(GetUserId()) ? database : InvalidOid;
}

/* Does the command change whether a database may have a dispatcher: whether it is a template, or takes connections? */
static bool
changes_databases(Node *statement)
{
	List *options = IsA(statement, AlterDatabaseStmt) ? castNode(AlterDatabaseStmt, statement)->options : NIL;

	return option_name(options, "is_template") != NULL || option_name(options, "allow_connections") != NULL;
}

/* Keeps dispatchers out of the database until the end of this transaction. */
static EvqSlot *
hold_database(Oid database)
{
	MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);
	EvqSlot *slot;

	/* Before anything is held: there may be no memory for it. */
	held = lappend(held, NULL);
	MemoryContextSwitchTo(previous);
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	slot = evq_shmem_find_or_make(database);
	if (slot != NULL)
	{
		if (slot->state == EVQ_SLOT_FREE)
			slot->state = EVQ_SLOT_ABSENT;
		evq_shmem_wake_dispatcher(slot);
		if (slot->housekeeper_pid != 0)
			kill(slot->housekeeper_pid, SIGTERM);
		slot->holds++;
	}
	llast(held) = slot;
	LWLockRelease(evq_shared->lock);
	return slot;
}

/* Lets dispatchers back into the databases held last, down to the first "keep" ones. */
static void
release_databases(int keep)
{
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	for (int i = keep; i < list_length(held); i++)
	{
		EvqSlot *slot = list_nth(held, i);

		if (slot == NULL)
			continue;
		slot->holds--;
		if (slot->holds == 0 && slot->state == EVQ_SLOT_STOPPED)
		{
			slot->state = EVQ_SLOT_WANTED;
			slot->failures = 0;
		}
	}
	LWLockRelease(evq_shared->lock);
	held = list_truncate(held, keep);
	evq_shmem_wake_launcher();
}

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	if (held != NIL &&
		(event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE))
		release_databases(0);
}

/* Is a dispatcher there, or on its way, or a housekeeper? One that did not come in time has died before. */
static bool
is_there(EvqSlot *slot)
{
	bool there;

	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	if (slot->state == EVQ_SLOT_STARTING && slot->pid == 0 &&
		GetCurrentTimestamp() - slot->started_at > START_TIMEOUT)
		slot->state = EVQ_SLOT_STOPPED;
	there = slot->pid != 0 || slot->state == EVQ_SLOT_STARTING || slot->housekeeper_pid != 0;
	LWLockRelease(evq_shared->lock);
	return there;
}

/* It leaves within one turn; a turn that hangs is interrupted by the user, as any wait. */
static void
wait_until_left(EvqSlot *slot)
{
	static uint32 empty_wait;

	while (is_there(slot))
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, WAIT_STEP_MS,
						 evq_wait_event(&empty_wait, "EvqDatabaseEmpty"));
		ResetLatch(MyLatch);
	}
}

/* ---------- the hooks ---------- */

static void
run_command(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
			ParamListInfo params, QueryEnvironment *environment, DestReceiver *receiver,
			QueryCompletion *completion)
{
	if (previous_utility_hook)
		previous_utility_hook(planned, query, read_only_tree, context, params, environment, receiver,
							  completion);
	else
		standard_ProcessUtility(planned, query, read_only_tree, context, params, environment, receiver,
								completion);
}

/* Runs a command that needs a database without a dispatcher; one that fails lets it back at once. */
static pg_noinline void
run_in_emptied(Oid database, PlannedStmt *planned, const char *query, bool read_only_tree,
			   ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			   DestReceiver *receiver, QueryCompletion *completion)
{
	int held_before = list_length(held);
	EvqSlot *slot = hold_database(database);

	PG_TRY();
	{
		if (slot != NULL)
			wait_until_left(slot);
		run_command(planned, query, read_only_tree, context, params, environment, receiver, completion);
	}
	PG_CATCH();
	{
		/* A command that commits on its way has let it back before. */
		release_databases(held_before);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
on_command(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
		   ParamListInfo params, QueryEnvironment *environment, DestReceiver *receiver,
		   QueryCompletion *completion)
{
	Node *statement = planned->utilityStmt;
	Oid emptied = emptied_database(statement);
	/* The statement may be gone when the command has run. */
	char *created = IsA(statement, CreatedbStmt) ? pstrdup(castNode(CreatedbStmt, statement)->dbname) : NULL;
	bool changes = changes_databases(statement);
	bool is_commit_prepared = IsA(statement, TransactionStmt) &&
							  castNode(TransactionStmt, statement)->kind == TRANS_STMT_COMMIT_PREPARED;

	if (OidIsValid(emptied))
		run_in_emptied(emptied, planned, query, read_only_tree, context, params, environment, receiver,
					   completion);
	else
		run_command(planned, query, read_only_tree, context, params, environment, receiver, completion);

	if (created != NULL)
		evq_pending_database_created(get_database_oid(created, true));
	else if (is_commit_prepared)
		evq_pending_prepared_committed();
	else if (changes)
		evq_pending_databases_changed();
}

/* The table of a trigger or a rule that was made just now, which only this kind of snapshot sees. */
static Oid
find_table_of(Oid class_id, Oid object_id)
{
	bool is_trigger = class_id == TriggerRelationId;
	Relation rel = table_open(class_id, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;
	Oid table = InvalidOid;

	/* Rows of both catalogs begin with their oid. */
	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object_id));
	scan = systable_beginscan(rel, is_trigger ? TriggerOidIndexId : RewriteOidIndexId, true, SnapshotSelf, 1,
							  &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		table = is_trigger ? ((Form_pg_trigger) GETSTRUCT(row))->tgrelid
						   : ((Form_pg_rewrite) GETSTRUCT(row))->ev_class;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return table;
}

/*
 * Triggers and rules, and foreign keys by their triggers, are refused where
 * evq's code would pass them over, and stop until they are dropped.
 */
static void
refuse_on_tables(Oid class_id, Oid object_id)
{
	Oid table = find_table_of(class_id, object_id);

	if (creating_extension || !OidIsValid(table) || !evq_tables_is_direct(table))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table %s.%s can have no trigger, rule or foreign key",
					get_namespace_name(get_rel_namespace(table)), get_rel_name(table)),
			 errhint("evq writes it without firing them. Keep the id of an event without a foreign key; "
					 "evq_watch() tells of changes.")));
}

static void
on_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_access_hook)
		previous_access_hook(access, class_id, object_id, sub_id, arg);
	if (access == OAT_POST_CREATE && (class_id == TriggerRelationId || class_id == RewriteRelationId))
		refuse_on_tables(class_id, object_id);
	if (access == OAT_DROP && class_id == ExtensionRelationId && object_id == get_extension_oid("evq", true))
		evq_pending_extension_dropped();
}

/* Sets the hooks, where evq is preloaded. Called by _PG_init(). */
void
evq_hooks_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = on_command;
	previous_access_hook = object_access_hook;
	object_access_hook = on_access;
	RegisterXactCallback(at_end_of_transaction, NULL);
}
