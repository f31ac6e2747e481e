/*
 * verbs.h
 *		evq's SQL functions, as far as a worker calls them. JSON is made and taken apart in SQL.
 */
#ifndef EVQ_WORKER_VERBS_H
#define EVQ_WORKER_VERBS_H

#include "database.h"
#include "options.h"
#include "text.h"

typedef struct Verbs Verbs;

/* An acquired event; its strings live as long as the reply. */
typedef struct Acquired
{
	const char *event_id;
	const char *permit;
	const char *event_type;
	const char *flow_type;
	const char *flow_id;
	const char *attempt;
	const char *attempts_left;
	const char *answer; /* JSON, NULL = none */
	const char *event;  /* all of it, as JSON */
	Millis left;        /* until its permit runs out */
} Acquired;

/* A batch of acquired events; its strings live as long as the reply. */
typedef struct AcquiredBatch
{
	const char *token;
	const char *flow_type;
	const char *count;  /* of its events */
	const char *events; /* each as JSON, in a line of its own */
	Millis left;        /* until the first permit runs out */
} AcquiredBatch;

/* What a heartbeat says of an event; its strings live as long as the reply. */
typedef struct Heartbeat
{
	const char *event_id;
	const char *permit;
	bool held;
	bool canceled;
	Millis left;
} Heartbeat;

typedef enum ReportKind
{
	REPORT_SUCCESS,
	REPORT_FAILURE,
	REPORT_SNOOZE,
	REPORT_RELEASE
} ReportKind;

typedef struct Report
{
	ReportKind kind;
	Buffer output;  /* of SUCCESS and SNOOZE: what the handler wrote for it, empty = nothing */
	Buffer message; /* of FAILURE */
	Buffer trace;   /* of FAILURE, empty = none */
	bool is_final;  /* of FAILURE: trying again is in vain */
} Report;

/* What the report on a batch says of one event; its strings live as long as the reply. */
typedef struct Outcome
{
	const char *event_id;
	const char *permit;
	bool is_named; /* false = it says nothing of it, and the rest is NULL */
	ReportKind kind;
	const char *output;  /* of SUCCESS and SNOOZE, NULL = nothing */
	const char *message; /* of FAILURE, as the others */
	const char *trace;
	bool is_final;
} Outcome;

typedef enum Verdict
{
	VERDICT_ACCEPTED,
	VERDICT_REFUSED,     /* the event is not this worker's any more */
	VERDICT_UNFIT,       /* the report cannot be stored as it is */
	VERDICT_TRY_AGAIN,   /* it is not the report's fault */
	VERDICT_NOT_THERE,   /* ... but a function, a table or a right is missing */
	VERDICT_ANOTHER_HOST /* this server takes no reports */
} Verdict;

/* Several events as two parallel arrays. */
typedef struct EventList
{
	Buffer ids;
	Buffer permits;
} EventList;

extern Verbs *verbs_create(Database *database, const Options *options);
extern void verbs_destroy(Verbs *verbs);

/* Flows are named by their places in the options. */
extern void verbs_send_hello(Verbs *verbs, Millis now);
extern bool verbs_take_hello(Verbs *verbs, const char **unknown_flow);
extern void verbs_send_listen(Verbs *verbs, Millis now, int flow);
extern int verbs_flow_of_channel(const Verbs *verbs, const char *channel);

extern void verbs_send_acquire(Verbs *verbs, Millis now, int flow, int max_events);
extern void verbs_send_succeed_and_acquire(Verbs *verbs, Millis now, int flow, const EventList *succeeded,
										   int max_events);
extern void verbs_read_acquired(Verbs *verbs, int row, Acquired *acquired);

/* succeeded: token of a batch that is done but for those except, NULL = none. No row: nothing was there. */
extern void verbs_send_acquire_batch(Verbs *verbs, Millis now, int flow, const char *succeeded,
									 const char *except, int max_events);
extern void verbs_read_acquired_batch(Verbs *verbs, AcquiredBatch *acquired);

extern void verbs_send_heartbeat(Verbs *verbs, Millis now, const EventList *running);
extern void verbs_read_heartbeat(Verbs *verbs, int row, Heartbeat *heartbeat);

/* The same for a batch: how many of its events are held, and until when. */
extern void verbs_send_batch_heartbeat(Verbs *verbs, Millis now, const char *token);
extern int verbs_read_batch_heartbeat(Verbs *verbs, Millis *left);

/* Are all of them still ours? */
extern void verbs_send_are_held(Verbs *verbs, Millis now, const EventList *running);
extern bool verbs_read_are_held(const Verbs *verbs);

extern void
verbs_send_report(Verbs *verbs, Millis now, const char *event_id, const char *permit, const Report *report);
/* with_rest: the answer is to have those events too of which the text says nothing. */
extern void
verbs_send_read_report(Verbs *verbs, Millis now, const char *token, const char *text, bool with_rest);
extern void verbs_read_outcome(Verbs *verbs, int row, Outcome *outcome);

/* On all of a batch but those events, an array or NULL. The answer has a row for each that was not accepted. */
extern void verbs_send_batch_report(Verbs *verbs, Millis now, const char *token, const char *except,
									const Report *report);
/* The success of those events of a batch. */
extern void verbs_send_succeed_some(Verbs *verbs, Millis now, const char *token, const char *ids);

extern Verdict verbs_verdict(const Verbs *verbs);

extern int verbs_rows(const Verbs *verbs);
extern const char *verbs_message(const Verbs *verbs);
extern const char *verbs_sqlstate(const Verbs *verbs);

extern void list_add(Buffer *list, const char *element);

extern void event_list_add(EventList *list, const char *event_id, const char *permit);
extern void event_list_reset(EventList *list);

#endif /* EVQ_WORKER_VERBS_H */
