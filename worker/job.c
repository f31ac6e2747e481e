/*
 * job.c
 *		An event, or a batch of them, on its way through the worker: its handler runs, then its report is due until it is
 *		answered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "memory.h"

/* What exit statuses say besides success and failure; the first two are those of sysexits.h. */
#define FINAL_FAILURE_STATUS 65 /* EX_DATAERR: trying again is in vain */
#define SNOOZE_STATUS 75        /* EX_TEMPFAIL */
#define REPORTED_STATUS 79      /* the handler has reported by itself */

/* A heartbeat comes after this share of the time left, but no sooner than that. */
#define HEARTBEAT_SHARE 3
#define SHORTEST_HEARTBEAT 50

/* Pauses before a report is repeated double from the first to the longest. */
#define FIRST_PAUSE 500
#define LONGEST_PAUSE 5000

/* Longest answer in the environment; Linux lets a variable have 128 kB. */
#define MOST_OF_ANSWER 65536

/* Longest message of a failure; what does not fit is in its stack trace. */
#define MESSAGE_LENGTH 1000

/* What tells a job from the others; pairs without a value are left out. */
#define BATCH_PAIRS(job)                                                     \
	"flow", (job)->batch == NULL ? NULL : (job)->batch->flow_type, "events", \
		(job)->batch == NULL ? NULL : (job)->batch->count
#define JOB_PAIRS(job)                                                                                  \
	"event_id", (job)->event_id, "event_type", (job)->event_type, "flow_id", (job)->flow_id, "attempt", \
		(job)->attempt, BATCH_PAIRS(job)

void
job_log(LogLevel level, const char *message, const Job *job, const char *key, const char *value)
{
	log_write(level, message, JOB_PAIRS(job), key, value, NULL);
}

static void
log_printed(void *context, const char *line)
{
	job_log(LOG_INFO, "handler prints", context, "text", line);
}

static void
log_complaint(void *context, const char *line)
{
	job_log(LOG_INFO, "handler says", context, "text", line);
}

/* ---------- all of them ---------- */

void
jobs_init(Jobs *jobs, const Options *options, const sigset_t *signal_mask)
{
	*jobs = (Jobs){
		.options = options,
		.handler_setting = {.command = options->command,
							.signal_mask = *signal_mask,
							.reports_on_stdout = options->reports_on_stdout,
							.max_report = options->max_report,
							.file_limit = options->file_limit,
							.take_printed = log_printed,
							.take_complaint = options->show_stderr ? log_complaint : NULL},
		.count = options->concurrency,
		.items = memory_array((size_t) options->concurrency, sizeof(Job)),
	};
}

static void
free_batch(Batch *batch)
{
	for (int i = 0; i < batch->part_count; i++)
		job_free(&batch->parts[i]);
	free(batch->parts);
	free(batch->token);
	free(batch->flow_type);
	free(batch->count);
	buffer_free(&batch->some);
	buffer_free(&batch->except);
	free(batch);
}

void
job_free(Job *job)
{
	if (job->handler != NULL)
		handler_free(job->handler);
	if (job->batch != NULL)
		free_batch(job->batch);
	free(job->event_id);
	free(job->permit);
	free(job->event_type);
	free(job->flow_id);
	free(job->attempt);
	buffer_free(&job->report.output);
	buffer_free(&job->report.message);
	buffer_free(&job->report.trace);
	*job = (Job){.state = JOB_FREE};
}

void
jobs_destroy(Jobs *jobs)
{
	for (int i = 0; i < jobs->count; i++)
		job_free(&jobs->items[i]);
	free(jobs->items);
}

int
jobs_in_state(const Jobs *jobs, JobState state)
{
	int count = 0;

	for (int i = 0; i < jobs->count; i++)
		count += jobs->items[i].state == state;
	return count;
}

/* ---------- the handler ---------- */

void
job_set_heartbeat(const Jobs *jobs, Job *job, Millis left, Millis now)
{
	Millis wait = clock_earlier(left / HEARTBEAT_SHARE, jobs->options->heartbeat);

	job->heartbeat_at = now + (wait > SHORTEST_HEARTBEAT ? wait : SHORTEST_HEARTBEAT);
}

/* A free one, RUNNING from now on. left: until its permits run out. */
static Job *
take_free(Jobs *jobs, Millis left, Millis now)
{
	Job *job = jobs->items;

	/* No more are acquired than are free. */
	while (job->state != JOB_FREE)
		job++;
	*job = (Job){
		.state = JOB_RUNNING,
		.started_at = now,
		.timeout_at = NEVER,
		.kill_at = NEVER,
	};
	/* attempt_timeout is how long an attempt may take; heartbeats only tell that the worker is there. */
	if (jobs->options->timeout > 0)
		job->timeout_at = now + jobs->options->timeout;
	else if (jobs->options->timeout < 0 && jobs->options->permit_for <= 0)
		job->timeout_at = now + left;
	job_set_heartbeat(jobs, job, left, now);
	return job;
}

Job *
jobs_take(Jobs *jobs, const Acquired *acquired, Millis now)
{
	Job *job = take_free(jobs, acquired->left, now);

	job->event_id = memory_string(acquired->event_id);
	job->permit = memory_string(acquired->permit);
	job->event_type = memory_string(acquired->event_type);
	job->flow_id = memory_string(acquired->flow_id);
	job->attempt = memory_string(acquired->attempt);
	return job;
}

Job *
jobs_take_batch(Jobs *jobs, const AcquiredBatch *acquired, Millis now)
{
	Job *job = take_free(jobs, acquired->left, now);

	job->batch = memory_new(sizeof(Batch));
	job->batch->token = memory_string(acquired->token);
	job->batch->flow_type = memory_string(acquired->flow_type);
	job->batch->count = memory_string(acquired->count);
	job->batch->rest = atoi(acquired->count);
	job->batch->step = BATCH_REST;
	return job;
}

static char *
variable(const char *name, const char *value)
{
	Buffer text = {0};

	buffer_text(&text, name);
	buffer_text(&text, "=");
	buffer_text(&text, value);
	return text.data;
}

/* A longer one does not fit into the environment: the handler finds it on its standard input. */
static const char *
short_answer(const char *answer)
{
	return strlen(answer) > MOST_OF_ANSWER ? "" : answer;
}

static char *
report_variable(const Jobs *jobs)
{
	return variable("EVQ_REPORT",
					jobs->options->reports_on_stdout ? HANDLER_STDOUT_FILE : HANDLER_REPORT_FILE);
}

/* The variables are freed. */
static bool
start_handler(const Jobs *jobs, Job *job, char **variables, const char *text)
{
	Buffer input = {0};

	buffer_text(&input, text);
	buffer_text(&input, "\n");
	job->handler = handler_start(&jobs->handler_setting, variables, &input, job);
	buffer_free(&input);
	for (int i = 0; variables[i] != NULL; i++)
		free(variables[i]);
	return job->handler != NULL;
}

bool
job_run(const Jobs *jobs, Job *job, const Acquired *acquired)
{
	char *variables[] = {variable("EVQ_EVENT_ID", acquired->event_id),
						 variable("EVQ_PERMIT", acquired->permit),
						 variable("EVQ_EVENT_TYPE", acquired->event_type),
						 variable("EVQ_FLOW_TYPE", acquired->flow_type),
						 variable("EVQ_FLOW_ID", acquired->flow_id),
						 variable("EVQ_ATTEMPT", acquired->attempt),
						 variable("EVQ_ATTEMPTS_LEFT", acquired->attempts_left),
						 variable("EVQ_WORKER", jobs->options->name),
						 report_variable(jobs),
						 acquired->answer == NULL ? NULL
												  : variable("EVQ_ANSWER", short_answer(acquired->answer)),
						 NULL};

	return start_handler(jobs, job, variables, acquired->event);
}

bool
job_run_batch(const Jobs *jobs, Job *job, const AcquiredBatch *acquired)
{
	char *variables[] = {variable("EVQ_TOKEN", acquired->token),
						 variable("EVQ_EVENTS", acquired->count),
						 variable("EVQ_FLOW_TYPE", acquired->flow_type),
						 variable("EVQ_WORKER", jobs->options->name),
						 report_variable(jobs),
						 NULL};

	return start_handler(jobs, job, variables, acquired->events);
}

bool
jobs_have_handler(const Jobs *jobs, pid_t pid)
{
	bool found = false;

	for (int i = 0; i < jobs->count && !found; i++)
		found = jobs->items[i].handler != NULL && handler_is(jobs->items[i].handler, pid);
	return found;
}

/* Tells it to end, once. */
void
job_end_handler(const Jobs *jobs, Job *job, EndReason reason, Millis now)
{
	if (job->end_reason != END_NONE)
		return;
	job->end_reason = reason;
	job->kill_at = now + jobs->options->grace;
	handler_signal(job->handler, SIGTERM);
}

/* What the failure says: the end of stderr, and what stderr does not know. */
static void
describe_failure(const Jobs *jobs, Job *job, const HandlerEnd *end)
{
	Buffer *complaint = handler_complaint(job->handler);
	Buffer *message = &job->report.message;
	char note[128] = "";

	text_make_utf8(complaint);
	text_trim_end(complaint);
	if (job->end_reason == END_TOO_MUCH)
		snprintf(note, sizeof(note), "handler reported more than %zu bytes", jobs->options->max_report);
	else if (job->end_reason == END_TIMEOUT)
		snprintf(note, sizeof(note), "handler ran for longer than %.1f seconds and was ended",
				 (double) (job->timeout_at - job->started_at) / 1000);
	else if (end->by_signal)
		snprintf(note, sizeof(note), "handler was killed by signal %d (%s)", end->number,
				 strsignal(end->number));
	else if (text_is_blank(complaint))
		snprintf(note, sizeof(note), "handler exited with status %d", end->number);

	if (!text_is_blank(complaint))
	{
		const char *lines = text_last_lines(complaint, MESSAGE_LENGTH);

		buffer_text(message, lines);
		if (note[0] != '\0')
			buffer_text(message, "\n");
		if (lines != complaint->data)
		{
			job->report.trace = *complaint;
			*complaint = (Buffer){0};
		}
	}
	buffer_text(message, note);
}

static void
report_failure(Job *job, const char *message, Millis now)
{
	buffer_free(&job->report.message);
	buffer_text(&job->report.message, message);
	job_report(job, REPORT_FAILURE, now);
}

static void
keep_output(Job *job)
{
	Buffer *output = handler_report(job->handler);

	if (text_is_blank(output))
		return;
	job->report.output = *output;
	*output = (Buffer){0};
}

/* The handler did what it could: what it wrote for that goes into the report. */
static void
report_output(Job *job, ReportKind kind, Millis now)
{
	if (text_has_nul(handler_report(job->handler)))
	{
		report_failure(job, "handler wrote a NUL byte into its report", now);
		return;
	}
	keep_output(job);
	job_report(job, kind, now);
}

/* What a handler has said of single events counts, whatever became of it; a line that it did not finish does not. */
static void
keep_outcomes(Job *job, bool by_itself)
{
	Buffer *output = handler_report(job->handler);

	if (job->report.kind == REPORT_SUCCESS || job->report.kind == REPORT_SNOOZE || text_has_nul(output))
		return;
	if (!by_itself)
		text_end_at_line(output);
	keep_output(job);
}

static void
settle(const Jobs *jobs, Job *job, const HandlerEnd *end, Millis now)
{
	bool by_itself;
	char number[32];
	char seconds[32];

	snprintf(number, sizeof(number), "%d", end->number);
	snprintf(seconds, sizeof(seconds), "%.3f", (double) (now - job->started_at) / 1000);
	log_write(LOG_INFO, "handler ended", JOB_PAIRS(job), end->by_signal ? "signal" : "status", number,
			  "seconds", seconds, NULL);

	if (job->end_reason == END_LOST)
	{
		job_free(job);
		return;
	}
	if (handler_reported_too_much(job->handler))
		job->end_reason = END_TOO_MUCH;
	by_itself = !end->by_signal && job->end_reason != END_TOO_MUCH && job->end_reason != END_TIMEOUT;
	if (by_itself && end->number == REPORTED_STATUS)
	{
		job_log(LOG_INFO, "handler has reported by itself", job, NULL, NULL);
		job_free(job);
		return;
	}
	if (by_itself && end->number == 0)
		report_output(job, REPORT_SUCCESS, now);
	else if (by_itself && end->number == SNOOZE_STATUS)
		report_output(job, REPORT_SNOOZE, now);
	else if (job->end_reason == END_DRAIN)
		job_report(job, REPORT_RELEASE, now);
	else
	{
		describe_failure(jobs, job, end);
		job->report.is_final = by_itself && end->number == FINAL_FAILURE_STATUS;
		job_report(job, REPORT_FAILURE, now);
	}
	if (job->batch != NULL)
	{
		keep_outcomes(job, by_itself);
		if (job->report.output.length > 0 || job->report.kind == REPORT_SNOOZE)
			job->batch->step = BATCH_READ;
	}
	handler_free(job->handler);
	job->handler = NULL;
}

/* Goes on with a handler that runs: its pipes, its end, and its time to end. */
void
job_advance(const Jobs *jobs, Job *job, const struct pollfd polls[HANDLER_PIPES], bool child_ended,
			Millis now)
{
	HandlerEnd end;

	handler_exchange(job->handler, polls);
	if (handler_reported_too_much(job->handler))
		job_end_handler(jobs, job, END_TOO_MUCH, now);
	if (now >= job->timeout_at && job->end_reason == END_NONE)
	{
		job_log(LOG_WARNING, "handler runs for too long, it is told to end", job, NULL, NULL);
		job_end_handler(jobs, job, END_TIMEOUT, now);
	}
	if (now >= job->kill_at)
	{
		job->kill_at = NEVER;
		handler_signal(job->handler, SIGKILL);
	}
	if (child_ended && handler_has_ended(job->handler, &end))
		settle(jobs, job, &end, now);
}

/* ---------- the report ---------- */

void
job_report(Job *job, ReportKind kind, Millis now)
{
	job->state = JOB_REPORTING;
	job->report.kind = kind;
	job->report_at = now;
	job->report_pause = FIRST_PAUSE;
}

const char *
job_report_name(const Job *job)
{
	static const char *const names[] = {"success", "failure", "snooze", "release"};

	return names[job->report.kind];
}

/* A report that cannot be stored becomes the report that this is so. No reason: its output is not what it should be. */
static void
report_unfit(Job *job, const char *reason, Millis now)
{
	static const char unreadable[] = "handler failed, and the database cannot store what it said";
	bool is_last_resort = job->report.kind == REPORT_FAILURE &&
						  strcmp(job->report.message.data, unreadable) == 0;
	Buffer message = {0};

	job_log(is_last_resort ? LOG_ERROR : LOG_WARNING, "report is unfit", job, "reason", reason);
	if (is_last_resort)
	{
		job_free(job);
		return;
	}
	if (job->report.kind == REPORT_FAILURE)
		buffer_text(&message, unreadable);
	else
	{
		if (job->report.output.length > 0)
			buffer_text(&message, "handler's report was refused: ");
		else
			buffer_text(&message, "snooze was refused: ");
		if (reason != NULL)
			buffer_text(&message, reason);
		else if (job->report.kind == REPORT_SUCCESS)
			buffer_text(&message, "it is not a JSON object that has \"result\" and \"spinoffs\" only");
		else
			buffer_text(&message, "it is not a JSON object that has \"snooze_seconds\" only");
	}
	buffer_free(&job->report.output);
	buffer_free(&job->report.trace);
	report_failure(job, message.data, now);
	buffer_free(&message);
}

/* Acts on the answer to the report. */
void
job_take_verdict(Job *job, Verdict verdict, const char *reason, const char *sqlstate, Millis now)
{
	job->on_its_way = false;
	switch (verdict)
	{
		case VERDICT_ACCEPTED:
			log_write(LOG_INFO, "reported", "report", job_report_name(job), JOB_PAIRS(job), "error",
					  job->report.message.data, NULL);
			job_free(job);
			break;
		case VERDICT_REFUSED:
			log_write(LOG_WARNING, "report was refused, it is dropped", "report", job_report_name(job),
					  "event_id", job->event_id, BATCH_PAIRS(job), "sqlstate", sqlstate, "reason", reason,
					  "repeated", job->repeated ? "yes" : NULL, NULL);
			job_free(job);
			break;
		case VERDICT_UNFIT:
			report_unfit(job, reason, now);
			break;
		case VERDICT_TRY_AGAIN:
		case VERDICT_NOT_THERE:
		case VERDICT_ANOTHER_HOST:
			job_log(LOG_WARNING, "report will be repeated", job, "reason", reason);
			job->repeated = true;
			job->report_at = now + job->report_pause;
			job->report_pause = clock_earlier(2 * job->report_pause, LONGEST_PAUSE);
			break;
	}
}
