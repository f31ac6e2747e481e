/*
 * session.c
 *		What the worker asks of the server, and what it makes of the answers.
 *
 * One statement is on its way at a time, and what is sent next is chosen anew
 * whenever the connection is free, from the state of the jobs. So nothing has
 * to be queued or undone when the connection is lost: a report without an
 * answer is still due and is sent again, with the same permit. What an
 * acquisition without an answer took comes back when its permits run out.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "database.h"
#include "memory.h"
#include "session.h"

/* Pauses between tries to acquire double from the first to the longest. */
#define FIRST_PAUSE 500
#define LONGEST_PAUSE 30000

/* When to ask again where a heartbeat failed. */
#define HEARTBEAT_AGAIN 1000

/* How often to ask whether what runs is still ours, so that a cancellation is noticed; heartbeats write, and are rarer. */
#define CHECK_EVERY 900

/* An event of a flow of weight 1, in what flows have had. */
#define ONE_EVENT INT64_C(1000000)

/* What the statement on its way asks. */
typedef enum Question
{
	ASKED_HELLO,
	ASKED_LISTEN,
	ASKED_HEARTBEAT,
	ASKED_CHECK,
	ASKED_REPORT,
	ASKED_ACQUIRE
} Question;

typedef enum Greeting
{
	GREETING_DUE, /* schema and channel are to be asked for */
	GREETING_LISTEN,
	GREETING_DONE
} Greeting;

/* Of each flow. */
typedef struct Flow
{
	bool look;      /* there may be events to acquire */
	Millis look_at; /* look then, if nothing was heard */
	int64_t had;    /* what it has had, in events by its weight; see flow_to_look_at() */
} Flow;

struct Session
{
	const Options *options;
	Jobs *jobs;
	Database *database;
	Verbs *verbs;
	Question asked;
	int asked_for;  /* events wanted by ASKED_ACQUIRE, */
	int asked_flow; /* of this flow */
	Job *asked_job; /* a batch, of ASKED_HEARTBEAT */
	Flow *flows;
	int next_flow; /* whose turn it is, among equals */
	int64_t had;   /* what the flow that was asked last had then */
	Greeting greeting;
	int listening; /* to so many channels, while GREETING_LISTEN */
	bool was_greeted;
	bool was_served; /* an acquisition was answered */
	bool hopeless;
	bool cannot_check; /* evq there is older than the question */
	Millis check_at;   /* whether what runs is still ours */
	bool stopped;
	Millis pause_until; /* acquire nothing before */
	Millis pause;
};

Session *
session_create(const Options *options, Jobs *jobs)
{
	Session *session = memory_new(sizeof(Session));

	session->options = options;
	session->jobs = jobs;
	session->database = database_create(options->conninfo, options->name);
	session->verbs = verbs_create(session->database, options);
	session->flows = memory_array((size_t) options->flow_count, sizeof(Flow));
	session->pause = FIRST_PAUSE;
	return session;
}

void
session_destroy(Session *session)
{
	verbs_destroy(session->verbs);
	database_destroy(session->database);
	free(session->flows);
	free(session);
}

void
session_stop_acquiring(Session *session)
{
	session->stopped = true;
}

bool
session_is_waiting(const Session *session)
{
	return database_is_waiting(session->database);
}

void
session_ask_poll(const Session *session, struct pollfd *poll)
{
	database_ask_poll(session->database, poll);
}

bool
session_is_hopeless(const Session *session)
{
	return session->hopeless;
}

static const char not_there[] =
	"evq is not there, run CREATE EXTENSION evq in this database; if it is a router, name a shard";

static void
look_at_all_flows(Session *session)
{
	for (int i = 0; i < session->options->flow_count; i++)
		session->flows[i].look = true;
}

static void
pause_acquiring(Session *session, Millis now)
{
	session->pause_until = now + session->pause;
	session->pause = clock_earlier(2 * session->pause, LONGEST_PAUSE);
}

/* ---------- answers ---------- */

/* What was on its way is due again. */
static void
take_loss(Session *session, Millis now)
{
	for (int i = 0; i < session->jobs->count; i++)
	{
		Job *job = &session->jobs->items[i];

		if (job->on_its_way)
		{
			job->on_its_way = false;
			job->repeated = true;
		}
		if (job->batch != NULL)
			batch_take_loss(job, now);
		/* Once connected again, ask at once whether it is still ours. */
		if (job->state != JOB_FREE && job->heartbeat_at != NEVER)
			job->heartbeat_at = now;
		if (job->state == JOB_REPORTING)
			job->report_at = now;
	}
	session->greeting = GREETING_DUE;
}

static void
take_hello(Session *session, Millis now)
{
	const char *unknown_flow;

	if (verbs_take_hello(session->verbs, &unknown_flow))
	{
		session->greeting = session->options->listen ? GREETING_LISTEN : GREETING_DONE;
		session->listening = 0;
		session->was_greeted = true;
		look_at_all_flows(session);
		return;
	}
	if (unknown_flow != NULL)
		log_write(LOG_ERROR, "unknown flow, configure it with evq_configure_flow()", "flow", unknown_flow,
				  NULL);
	else
		log_write(LOG_ERROR, not_there, NULL);
	session->hopeless = !session->was_greeted;
	pause_acquiring(session, now);
}

static void
take_heartbeat(Session *session, const Heartbeat *heartbeat, Millis now)
{
	for (int i = 0; i < session->jobs->count; i++)
	{
		Job *job = &session->jobs->items[i];

		if (job->state != JOB_RUNNING || strcmp(job->event_id, heartbeat->event_id) != 0 ||
			strcmp(job->permit, heartbeat->permit) != 0)
			continue;
		if (heartbeat->held)
		{
			job_set_heartbeat(session->jobs, job, heartbeat->left, now);
			continue;
		}
		job->heartbeat_at = NEVER;
		job_log(LOG_WARNING,
				heartbeat->canceled ? "event was canceled, its handler is told to end"
									: "permit is lost, its handler is told to end",
				job, NULL, NULL);
		job_end_handler(session->jobs, job, END_LOST, now);
	}
}

/* The answer to the reports that were on their way. */
static void
take_verdict(Session *session, Verdict verdict, Millis now)
{
	const char *reason = verbs_message(session->verbs);
	const char *sqlstate = verbs_sqlstate(session->verbs);

	for (int i = 0; i < session->jobs->count; i++)
	{
		Job *job = &session->jobs->items[i];

		if (job->batch != NULL)
			batch_take_verdict(job, session->verbs, verdict, now);
		else if (job->on_its_way)
			job_take_verdict(job, verdict, reason, sqlstate, now);
	}

	/* What followed from it is not heard of without LISTEN. */
	if (!session->options->listen)
		look_at_all_flows(session);
}

/* Where the handler could not be started what it was for is given back, for a worker that can. */
static void
take_start(Session *session, Job *job, bool is_running, Millis now)
{
	if (session->stopped)
		job_report(job, REPORT_RELEASE, now);
	else if (is_running)
	{
		job_log(LOG_INFO, "handler started", job, NULL, NULL);
		session->pause = FIRST_PAUSE;
	}
	else
	{
		job_log(LOG_ERROR,
				job->batch == NULL ? "handler cannot be started, event is given back"
								   : "handler cannot be started, batch is given back",
				job, "reason", strerror(errno));
		job_report(job, REPORT_RELEASE, now);
		pause_acquiring(session, now);
	}
}

static void
start_job(Session *session, const Acquired *acquired, Millis now)
{
	Job *job = jobs_take(session->jobs, acquired, now);

	take_start(session, job, !session->stopped && job_run(session->jobs, job, acquired), now);
}

static void
start_batch(Session *session, const AcquiredBatch *acquired, Millis now)
{
	Job *job = jobs_take_batch(session->jobs, acquired, now);

	take_start(session, job, !session->stopped && job_run_batch(session->jobs, job, acquired), now);
}

static void
take_acquired(Session *session, Millis now)
{
	int rows = verbs_rows(session->verbs);
	int events = rows;

	take_verdict(session, VERDICT_ACCEPTED, now);
	for (int row = 0; row < rows; row++)
	{
		if (session->options->events_per_run > 0)
		{
			AcquiredBatch acquired;

			verbs_read_acquired_batch(session->verbs, &acquired);
			events = atoi(acquired.count);
			start_batch(session, &acquired, now);
		}
		else
		{
			Acquired acquired;

			verbs_read_acquired(session->verbs, row, &acquired);
			start_job(session, &acquired, now);
		}
	}
	session->flows[session->asked_flow].had += events * ONE_EVENT /
											   session->options->flow_weights[session->asked_flow];
	if (events == session->asked_for)
		session->flows[session->asked_flow].look = true;
}

/* Of a batch that may be done by now, of the only one, or of all that are no batches. */
static void
take_heartbeats(Session *session, Millis now)
{
	if (session->asked_job != NULL)
	{
		if (session->asked_job->batch != NULL)
			batch_take_heartbeat(session->jobs, session->asked_job, session->verbs, now);
		return;
	}
	for (int row = 0; row < verbs_rows(session->verbs); row++)
	{
		Heartbeat heartbeat;

		verbs_read_heartbeat(session->verbs, row, &heartbeat);
		take_heartbeat(session, &heartbeat, now);
	}
}

static void
take_answer(Session *session, Millis now)
{
	switch (session->asked)
	{
		case ASKED_HELLO:
			take_hello(session, now);
			break;
		case ASKED_LISTEN:
			if (++session->listening == session->options->flow_count)
				session->greeting = GREETING_DONE;
			look_at_all_flows(session);
			break;
		case ASKED_CHECK:
			/* Which of them is not, and why, a heartbeat tells. */
			for (int i = 0; !verbs_read_are_held(session->verbs) && i < session->jobs->count; i++)
			{
				if (session->jobs->items[i].state == JOB_RUNNING &&
					session->jobs->items[i].heartbeat_at != NEVER)
					session->jobs->items[i].heartbeat_at = now;
			}
			break;
		case ASKED_HEARTBEAT:
			take_heartbeats(session, now);
			break;
		case ASKED_REPORT:
			take_verdict(session, VERDICT_ACCEPTED, now);
			break;
		case ASKED_ACQUIRE:
			session->was_served = true;
			take_acquired(session, now);
			break;
	}
}

static const char *
error_in_words(const Session *session, Verdict verdict)
{
	if (session->asked == ASKED_HEARTBEAT)
		return "heartbeat failed";
	if (session->asked == ASKED_HELLO && verdict == VERDICT_NOT_THERE)
		return strcmp(verbs_sqlstate(session->verbs), "42501") == 0
				   ? "the role may not use evq, grant it evq_worker"
				   : not_there;
	return "cannot ask for events";
}

static void
take_error(Session *session, Verdict verdict, Millis now)
{
	if (session->asked == ASKED_REPORT)
		take_verdict(session, verdict, now);
	else if (session->asked == ASKED_CHECK)
		session->cannot_check = verdict == VERDICT_NOT_THERE;
	else
	{
		log_write(LOG_ERROR, error_in_words(session, verdict), "reason", verbs_message(session->verbs),
				  "sqlstate", verbs_sqlstate(session->verbs), NULL);
		pause_acquiring(session, now);
		session->greeting = GREETING_DUE;
		/* At the start, that is: what was granted once is likely to be granted again. */
		session->hopeless = verdict == VERDICT_NOT_THERE &&
							((session->asked == ASKED_HELLO && !session->was_greeted) ||
							 (session->asked == ASKED_ACQUIRE && !session->was_served));

		/* The successes that went with it are reported on their own, while acquiring pauses. */
		for (int i = 0; i < session->jobs->count; i++)
			session->jobs->items[i].on_its_way = false;
	}
	if (verdict == VERDICT_ANOTHER_HOST)
	{
		database_leave_server(session->database, now, "the server takes no changes");
		take_loss(session, now);
	}
}

void
session_advance(Session *session, short revents, Millis now)
{
	Verdict verdict;
	char *channel;

	switch (database_advance(session->database, revents, now))
	{
		case DATABASE_LOST:
			take_loss(session, now);
			break;
		case DATABASE_REPLIED:
			verdict = verbs_verdict(session->verbs);
			if (verdict == VERDICT_ACCEPTED)
			{
				database_is_good(session->database);
				take_answer(session, now);
			}
			else
				take_error(session, verdict, now);
			break;
		case DATABASE_HOPELESS:
			session->hopeless = true;
			break;
		case DATABASE_CONNECTED:
			log_write(LOG_INFO, "connected", NULL);
			break;
		case DATABASE_NO_NEWS:
			break;
	}
	while ((channel = database_take_notification(session->database)) != NULL)
	{
		int flow = verbs_flow_of_channel(session->verbs, channel);

		if (flow >= 0)
			session->flows[flow].look = true;
		free(channel);
	}
}

/* ---------- questions ---------- */

static bool
may_be_checked(const Job *job)
{
	return job->state == JOB_RUNNING && job->batch == NULL && job->heartbeat_at != NEVER &&
		   job->end_reason == END_NONE;
}

/* A batch is reported in several steps: its permits are to hold until the last one. */
static bool
wants_heartbeat(const Job *job)
{
	return job->state == JOB_RUNNING || (job->state == JOB_REPORTING && job->batch != NULL);
}

static bool
ask_batch_heartbeat(Session *session, Millis now)
{
	for (int i = 0; i < session->jobs->count; i++)
	{
		Job *job = &session->jobs->items[i];

		if (job->batch == NULL || !wants_heartbeat(job) || job->heartbeat_at > now)
			continue;
		job->heartbeat_at = now + HEARTBEAT_AGAIN;
		session->asked = ASKED_HEARTBEAT;
		session->asked_job = job;
		verbs_send_batch_heartbeat(session->verbs, now, job->batch->token);
		return true;
	}
	return false;
}

static bool
ask_heartbeat(Session *session, Millis now)
{
	Jobs *jobs = session->jobs;
	EventList running = {0};
	bool due = false;

	if (session->options->events_per_run > 0)
		return ask_batch_heartbeat(session, now);
	for (int i = 0; i < jobs->count; i++)
		due |= jobs->items[i].state == JOB_RUNNING && jobs->items[i].heartbeat_at <= now;
	if (!due)
		return false;

	/* One call serves all that run, whoever's time it is. */
	for (int i = 0; i < jobs->count; i++)
	{
		Job *job = &jobs->items[i];

		if (job->state != JOB_RUNNING || job->heartbeat_at == NEVER)
			continue;
		event_list_add(&running, job->event_id, job->permit);
		job->heartbeat_at = now + HEARTBEAT_AGAIN;
	}
	session->asked = ASKED_HEARTBEAT;
	session->asked_job = NULL;
	verbs_send_heartbeat(session->verbs, now, &running);
	event_list_reset(&running);
	return true;
}

/* What needs a heartbeat soon is not asked for besides. */
static bool
ask_check(Session *session, Millis now)
{
	EventList running = {0};

	if (session->cannot_check || session->greeting == GREETING_DUE || now < session->check_at)
		return false;
	session->check_at = now + CHECK_EVERY;
	for (int i = 0; i < session->jobs->count; i++)
	{
		Job *job = &session->jobs->items[i];

		if (may_be_checked(job) && now - job->started_at >= CHECK_EVERY)
			event_list_add(&running, job->event_id, job->permit);
	}
	if (running.ids.length == 0)
		return false;
	session->asked = ASKED_CHECK;
	verbs_send_are_held(session->verbs, now, &running);
	event_list_reset(&running);
	return true;
}

static bool
may_acquire(const Session *session, Millis now)
{
	return !session->stopped && now >= session->pause_until;
}

/* A success without output can share its transaction with the next acquisition. */
static bool
is_plain_success(const Job *job, Millis now)
{
	if (job->batch != NULL)
		return batch_is_plain_success(job, now);
	return job->state == JOB_REPORTING && job->report_at <= now && job->report.kind == REPORT_SUCCESS &&
		   job->report.output.length == 0;
}

static bool
ask_report(Session *session, Millis now)
{
	for (int i = 0; i < session->jobs->count; i++)
	{
		Job *job = &session->jobs->items[i];

		if (job->state != JOB_REPORTING || (is_plain_success(job, now) && may_acquire(session, now)))
			continue;
		if (job->batch != NULL)
		{
			if (!batch_send_report(job, session->verbs, now))
				continue;
			session->asked = ASKED_REPORT;
			return true;
		}
		if (job->report_at > now)
			continue;
		job->on_its_way = true;
		session->asked = ASKED_REPORT;
		verbs_send_report(session->verbs, now, job->event_id, job->permit, &job->report);
		return true;
	}
	return false;
}

/*
 * The flow to ask next, of those that may have events: the one that has had least by its weight, and of
 * equals the next in turn; -1 = none. One that had nothing for a while has no claim to what others had then.
 */
static int
flow_to_look_at(Session *session, Millis now)
{
	int chosen = -1;

	for (int i = 0; i < session->options->flow_count; i++)
	{
		int flow = (session->next_flow + i) % session->options->flow_count;

		if (!session->flows[flow].look && now < session->flows[flow].look_at)
			continue;
		if (session->flows[flow].had < session->had)
			session->flows[flow].had = session->had;
		if (chosen < 0 || session->flows[flow].had < session->flows[chosen].had)
			chosen = flow;
	}
	return chosen;
}

/* What is heard from now on is not in the answer. */
static void
begin_acquire(Session *session, int flow, int events, Millis now)
{
	session->flows[flow].look = false;
	session->flows[flow].look_at = now + session->options->poll;
	session->next_flow = (flow + 1) % session->options->flow_count;
	if (session->flows[flow].had > session->had)
		session->had = session->flows[flow].had;
	session->asked = ASKED_ACQUIRE;
	session->asked_flow = flow;
	session->asked_for = events;
}

/* A batch that is done, if there is one, and the next one. */
static void
ask_acquire_batch(Session *session, Millis now)
{
	int flow = flow_to_look_at(session, now);
	Job *succeeded = NULL;

	for (int i = 0; i < session->jobs->count && succeeded == NULL; i++)
	{
		if (is_plain_success(&session->jobs->items[i], now))
			succeeded = &session->jobs->items[i];
	}
	if (succeeded == NULL && (flow < 0 || jobs_in_state(session->jobs, JOB_FREE) == 0))
		return;
	if (flow < 0)
		flow = session->next_flow;
	begin_acquire(session, flow, session->options->events_per_run, now);
	if (succeeded == NULL)
		verbs_send_acquire_batch(session->verbs, now, flow, NULL, NULL, session->asked_for);
	else
		batch_send_with_acquire(succeeded, session->verbs, now, flow, session->asked_for);
}

static void
ask_acquire(Session *session, Millis now)
{
	int room = jobs_in_state(session->jobs, JOB_FREE);
	int flow = flow_to_look_at(session, now);
	EventList succeeded = {0};

	for (int i = 0; i < session->jobs->count; i++)
	{
		Job *job = &session->jobs->items[i];

		if (!is_plain_success(job, now))
			continue;
		job->on_its_way = true;
		event_list_add(&succeeded, job->event_id, job->permit);
		room++;
	}
	if (room == 0 || (succeeded.ids.length == 0 && flow < 0))
		return;
	if (flow < 0)
		flow = session->next_flow;

	begin_acquire(session, flow, room < session->options->batch ? room : session->options->batch, now);
	if (succeeded.ids.length == 0)
		verbs_send_acquire(session->verbs, now, flow, session->asked_for);
	else
		verbs_send_succeed_and_acquire(session->verbs, now, flow, &succeeded, session->asked_for);
	event_list_reset(&succeeded);
}

/* If the connection is free: sends what is due, the most urgent first. */
void
session_ask(Session *session, Millis now)
{
	if (!database_is_free(session->database) || ask_heartbeat(session, now) || ask_report(session, now) ||
		ask_check(session, now) || !may_acquire(session, now))
		return;
	switch (session->greeting)
	{
		case GREETING_DUE:
			session->asked = ASKED_HELLO;
			verbs_send_hello(session->verbs, now);
			break;
		case GREETING_LISTEN:
			session->asked = ASKED_LISTEN;
			verbs_send_listen(session->verbs, now, session->listening);
			break;
		case GREETING_DONE:
			if (session->options->events_per_run > 0)
				ask_acquire_batch(session, now);
			else
				ask_acquire(session, now);
			break;
	}
}

/* When to go on even if nothing happens. While nothing can be sent, what would be sent does not count. */
Millis
session_wake_at(const Session *session)
{
	Millis wake = database_wake_at(session->database);
	Millis acquire_at = session->pause_until;
	Millis look_at = NEVER;

	if (!database_is_free(session->database))
		return wake;
	for (int i = 0; i < session->jobs->count; i++)
	{
		const Job *job = &session->jobs->items[i];

		if (wants_heartbeat(job))
			wake = clock_earlier(wake, job->heartbeat_at);
		if (may_be_checked(job) && !session->cannot_check && session->greeting != GREETING_DUE)
			wake = clock_earlier(wake, session->check_at);
		if (job->state == JOB_REPORTING)
			wake = clock_earlier(wake, job->batch != NULL ? batch_report_at(job) : job->report_at);
	}
	if (session->stopped)
		return wake;
	if (session->greeting == GREETING_DONE)
	{
		if (jobs_in_state(session->jobs, JOB_FREE) == 0)
			return wake;
		for (int i = 0; i < session->options->flow_count; i++)
			look_at = clock_earlier(look_at, session->flows[i].look ? 0 : session->flows[i].look_at);
		if (look_at > acquire_at)
			acquire_at = look_at;
	}
	return clock_earlier(wake, acquire_at);
}
