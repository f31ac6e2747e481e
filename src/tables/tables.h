/*
 * tables.h
 *		The tables and their columns, and what to do with a table as a whole; sql/parts/020, 030 and 031 say the same.
 *
 * The columns are for the modules of this folder, which read and write rows. Their numbers are those of evq's own columns, which a table of a
 * user may have elsewhere: see columns.h.
 */
#ifndef EVQ_TABLES_H
#define EVQ_TABLES_H

#include "executor/tuptable.h"
#include "datatype/timestamp.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

#include "tables/columns.h"

typedef enum EvqTableNo
{
	EVQ_TABLE_EVENT,
	EVQ_TABLE_PAYLOAD,
	EVQ_TABLE_HISTORY,
	EVQ_TABLE_ERROR,
	EVQ_TABLE_IDEMPOTENCY,
	EVQ_TABLE_EPOCH,
	EVQ_TABLE_LOG,
	EVQ_TABLE_BATCH,
	EVQ_TABLE_BACKLOG,
	EVQ_TABLE_RUN,
	EVQ_TABLE_EXCEPTION,
	EVQ_TABLE_EVENT_TYPE, /* those before it C code writes, past triggers */
	EVQ_TABLE_FLOW,
	EVQ_TABLE_PAUSE,
	EVQ_TABLE_RESTRICTION,
	EVQ_TABLE_HOME,
	EVQ_TABLE_LIFESPAN_CHANGE,
	EVQ_TABLE_FLOW_GROUP,
	EVQ_TABLE_NAMED_LIMIT,
	EVQ_TABLE_COUNT
} EvqTableNo;

enum
{
	EVENT_ID,
	EVENT_PUBLISHED_AT,
	EVENT_ATTEMPT_SCHEDULED_AT,
	EVENT_DUE_AT,
	EVENT_TYPE_NO,
	EVENT_FLOW_NO,
	EVENT_PRIORITY,
	EVENT_CHAIN_DEPTH,
	EVENT_ORDERED,
	EVENT_STATE,
	EVENT_ATTEMPTS_USED,
	EVENT_STATE_DUE_AT,
	EVENT_STATE_SINCE,
	EVENT_PERMIT,
	EVENT_FLOW_ID,
	EVENT_PARENT_ID,
	EVENT_ON_FAIL_NO,
	EVENT_WORKER,
	EVENT_PAYLOAD,        /* NULL = it is in event_payload */
	EVENT_SHARED_COLUMNS, /* so many the history begins with */
	EVENT_ANSWER = EVENT_SHARED_COLUMNS,
	EVENT_ANSWERED_PERMIT,
	EVENT_GROUP_KEY,
	EVENT_COLUMNS
};

enum
{
	PAYLOAD_EVENT_ID,
	PAYLOAD_PAYLOAD,
	PAYLOAD_HEADERS,
	PAYLOAD_COLUMNS
};

/* The history begins with the columns of the live events; two of them mean something else there. */
enum
{
	HISTORY_ATTEMPT_STARTED_AT = EVENT_STATE_DUE_AT,
	HISTORY_FINISHED_AT = EVENT_STATE_SINCE,
	HISTORY_REASON = EVENT_SHARED_COLUMNS,
	HISTORY_RESULT,
	HISTORY_SPINOFF_IDS,
	HISTORY_ANSWER,
	HISTORY_ANSWERED_PERMIT,
	HISTORY_GROUP_KEY,
	HISTORY_COLUMNS
};

enum
{
	ERROR_EVENT_ID,
	ERROR_FAILED_AT,
	ERROR_ATTEMPT,
	ERROR_OUTCOME,
	ERROR_MESSAGE,
	ERROR_STACK_TRACE,
	ERROR_WORKER,
	ERROR_COLUMNS
};

enum
{
	KEY_EVENT_TYPE_NO,
	KEY_IDEMPOTENCY_KEY,
	KEY_EVENT_ID,
	KEY_CONTENT_HASH,
	KEY_COLUMNS
};

enum
{
	EPOCH_EPOCH,
	EPOCH_SYSTEM_IDENTIFIER,
	EPOCH_DATABASE_OID,
	EPOCH_EVENT_TABLE_OID,
	EPOCH_TIMELINE,
	EPOCH_BEGAN_AT,
	EPOCH_COLUMNS
};

enum
{
	LOG_EVENT_ID,
	LOG_FLOW_ID,
	LOG_PAYLOAD,
	LOG_HEADERS,
	LOG_COLUMNS
};

enum
{
	BATCH_ID,
	BATCH_PUBLISHED_AT,
	BATCH_ATTEMPT_SCHEDULED_AT,
	BATCH_DUE_AT,
	BATCH_EVENT_TYPE_NO,
	BATCH_FLOW_NO,
	BATCH_PRIORITY,
	BATCH_EVENTS,
	BATCH_ON_FAIL_NO,
	BATCH_PLACES,
	BATCH_COLUMNS
};

enum
{
	BACKLOG_FLOW_NO,
	BACKLOG_ATTEMPT_SCHEDULED_AT,
	BACKLOG_BATCH_ID,
	BACKLOG_EVENT_TYPE_NO,
	BACKLOG_PRIORITY,
	BACKLOG_EVENTS,
	BACKLOG_COLUMNS
};

enum
{
	RUN_LAST_ID,
	RUN_EVENTS,
	RUN_STATE,
	RUN_STATE_SINCE,
	RUN_STATE_DUE_AT,
	RUN_ATTEMPT_STARTED_AT,
	RUN_PERMIT,
	RUN_WORKER,
	RUN_COLUMNS
};

enum
{
	EXCEPTION_EVENT_ID,
	EXCEPTION_STATE,
	EXCEPTION_STATE_SINCE,
	EXCEPTION_COLUMNS
};

enum
{
	TYPE_NO,
	TYPE_EVENT_TYPE,
	TYPE_FLOW_NO,
	TYPE_MAX_ATTEMPTS,
	TYPE_LIFESPAN,
	TYPE_ATTEMPT_DELAYS,
	TYPE_BACKOFF_FACTOR,
	TYPE_MAX_DELAY,
	TYPE_JITTER,
	TYPE_ATTEMPT_TIMEOUT,
	TYPE_IS_SUSPENDED,
	TYPE_ON_SUSPEND_TIMEOUT,
	TYPE_ON_FAIL_EVENT_TYPE,
	TYPE_PRIORITY,
	TYPE_MAX_PAYLOAD_BYTES,
	TYPE_RETENTION,
	TYPE_DROPPED,
	TYPE_LIMITS,
	TYPE_COST,
	TYPE_COLUMNS
};

enum
{
	FLOW_NO,
	FLOW_FLOW_TYPE,
	FLOW_CHANNEL,
	FLOW_MAX_DISPATCHED,
	FLOW_MAX_PROCESSING,
	FLOW_DISPATCH_TIMEOUT,
	FLOW_DELIVERY,
	FLOW_ORDERED,
	FLOW_NOTIFY_PAYLOAD,
	FLOW_PAUSED_AT,
	FLOW_PAUSED_UNTIL,
	FLOW_PAUSE_REASON,
	FLOW_GROUP_BY,
	FLOW_MAX_PROCESSING_PER_GROUP,
	FLOW_RATE,
	FLOW_PER,
	FLOW_BURST,
	FLOW_RATE_PER_GROUP,
	FLOW_PER_PER_GROUP,
	FLOW_BURST_PER_GROUP,
	FLOW_GROUPS_PAUSED_UNTIL,
	FLOW_FAIR,
	FLOW_PRIORITY_STEP,
	FLOW_COLUMNS
};

enum
{
	PAUSE_PAUSED_AT,
	PAUSE_REASON,
	PAUSE_COLUMNS
};

enum
{
	RESTRICTION_ROLE_NAME,
	RESTRICTION_MAY,
	RESTRICTION_ROLE_OID,
	RESTRICTION_FLOW_NOS,
	RESTRICTION_COLUMNS
};

enum
{
	HOME_IS_ONLY,
	HOME_DATABASE_OID,
	HOME_BACKUP_LABEL,
	HOME_COLUMNS
};

enum
{
	LIFESPAN_CHANGE_TYPE_NO,
	LIFESPAN_CHANGE_CHANGED_AT,
	LIFESPAN_CHANGE_SHIFT,
	LIFESPAN_CHANGE_COLUMNS
};

enum
{
	GROUP_FLOW_NO,
	GROUP_GROUP_KEY,
	GROUP_MAX_PROCESSING,
	GROUP_RATE,
	GROUP_PER,
	GROUP_BURST,
	GROUP_PAUSED_AT,
	GROUP_PAUSED_UNTIL,
	GROUP_PAUSE_REASON,
	GROUP_WEIGHT,
	GROUP_COLUMNS
};

enum
{
	LIMIT_NO,
	LIMIT_NAME,
	LIMIT_MAX_PROCESSING,
	LIMIT_RATE,
	LIMIT_PER,
	LIMIT_BURST,
	LIMIT_BY_GROUP,
	LIMIT_COLUMNS
};

/* Reads one row of a table into an element of an array, which is zeros; it may allocate in the current memory context. */
typedef void (*EvqReadRow)(TupleTableSlot *slot, void *row);

/* Who a session was before it became the owner. */
typedef struct EvqIdentity
{
	Oid user;
	int context;
} EvqIdentity;

/* An index: of the events with a group; others have no entry there. */
#define EVQ_GROUP_INDEX "event_flow_no_group_key_attempt_scheduled_at_idx"

extern void evq_tables_init(void);
extern bool evq_tables_exist(void);
extern bool evq_tables_has(const char *name);
extern Oid evq_tables_group_index(void);
extern Oid evq_tables_relid(EvqTableNo no, bool missing_ok);
extern const char *evq_tables_name(EvqTableNo no);
extern void evq_tables_map(EvqTableNo no, Relation rel, EvqColumnMap *map);
extern bool evq_tables_is_direct(Oid relid);
extern const EvqColumn *evq_tables_columns(EvqTableNo no, const char **name, int *count);
extern TupleTableSlot *evq_tables_make_slot(EvqTableNo no);
extern Relation evq_tables_open(EvqTableNo no, LOCKMODE lock, EvqColumnMap *map);
extern int evq_tables_read_all(EvqTableNo no, EvqReadRow read_row, Size row_size, void **rows);

/* SQL, as the owner */
extern void evq_tables_become_owner(EvqIdentity *previous);
extern void evq_tables_become_oneself(const EvqIdentity *previous);
extern bool evq_tables_ask(const char *query);
extern bool evq_tables_ask_time(const char *query, TimestampTz *time);

#endif /* EVQ_TABLES_H */
