/*
 * batch.c
 *		The report on a batch, step by step.
 *
 * The exit status of a handler is the report on all events of its batch, but for those of which it wrote something
 * else. What it wrote is taken apart by the server. Events that failed, or sleep, or have a result are reported
 * one by one, by their own permits, as jobs without a handler; then the rest by the token. Each step can be repeated.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "memory.h"

static Job *
part_in_state(const Batch *batch, JobState state)
{
	for (int i = 0; i < batch->part_count; i++)
	{
		if (batch->parts[i].state == state)
			return &batch->parts[i];
	}
	return NULL;
}

static Job *
part_on_its_way(const Batch *batch)
{
	for (int i = 0; i < batch->part_count; i++)
	{
		if (batch->parts[i].on_its_way)
			return &batch->parts[i];
	}
	return NULL;
}

/* Goes to the next step that has something to do; where none has, the job is done. */
static void
find_step(Job *job)
{
	Batch *batch = job->batch;

	if (batch->step == BATCH_READ)
		return;
	batch->step = part_in_state(batch, JOB_REPORTING) != NULL ? BATCH_PARTS
				  : batch->some.length > 0                    ? BATCH_SOME
															  : BATCH_REST;
	if (batch->step == BATCH_REST && batch->rest == 0)
		job_free(job);
}

/* ---------- what the handler wrote ---------- */

static void
add_part(Job *job, const Outcome *outcome, ReportKind kind, Millis now)
{
	Batch *batch = job->batch;
	Job *part = &batch->parts[batch->part_count++];

	part->event_id = memory_string(outcome->event_id);
	part->permit = memory_string(outcome->permit);
	job_report(part, kind, now);
	if (outcome->output != NULL)
		buffer_text(&part->report.output, outcome->output);
	if (outcome->message != NULL)
		buffer_text(&part->report.message, outcome->message);
	if (outcome->trace != NULL)
		buffer_text(&part->report.trace, outcome->trace);
	part->report.is_final = outcome->is_final;
}

static void
take_outcomes(Job *job, Verbs *verbs, Millis now)
{
	Batch *batch = job->batch;
	int rows = verbs_rows(verbs);

	batch->parts = memory_array((size_t) rows + 1, sizeof(Job));
	for (int row = 0; row < rows; row++)
	{
		Outcome outcome;
		bool is_plain;

		verbs_read_outcome(verbs, row, &outcome);
		is_plain = outcome.is_named && outcome.kind == REPORT_SUCCESS && outcome.output == NULL;
		/* It is one of the rest. */
		if (is_plain && job->report.kind == REPORT_SUCCESS)
			continue;
		if (is_plain)
			list_add(&batch->some, outcome.event_id);
		else
			add_part(job, &outcome, outcome.is_named ? outcome.kind : job->report.kind, now);
		list_add(&batch->except, outcome.event_id);
		batch->rest--;
	}
}

/* What it wrote cannot be understood, so nothing that it says is believed. What ends for want of time is given back all the same. */
static void
refuse_outcomes(Job *job, const char *reason)
{
	Buffer *message = &job->report.message;

	job_log(LOG_WARNING, "report is unfit", job, "reason", reason);
	if (job->report.kind == REPORT_SUCCESS || job->report.kind == REPORT_SNOOZE)
	{
		job->report.kind = REPORT_FAILURE;
		buffer_text(message, "handler's report was refused: ");
		buffer_text(message, reason == NULL ? "it cannot be read" : reason);
	}
}

/* ---------- questions ---------- */

bool
batch_is_plain_success(const Job *job, Millis now)
{
	return job->state == JOB_REPORTING && job->report_at <= now && job->report.kind == REPORT_SUCCESS &&
		   job->batch->step == BATCH_REST;
}

void
batch_send_with_acquire(Job *job, Verbs *verbs, Millis now, int flow, int max_events)
{
	job->on_its_way = job->batch->is_with_acquire = true;
	verbs_send_acquire_batch(verbs, now, flow, job->batch->token,
							 job->batch->except.length > 0 ? job->batch->except.data : "{}", max_events);
}

bool
batch_send_report(Job *job, Verbs *verbs, Millis now)
{
	Batch *batch = job->batch;

	if (batch_report_at(job) > now)
		return false;
	batch->is_with_acquire = false;
	switch (batch->step)
	{
		case BATCH_READ:
			verbs_send_read_report(verbs, now, batch->token,
								   job->report.output.length > 0 ? job->report.output.data : "",
								   job->report.kind == REPORT_SNOOZE);
			break;
		case BATCH_PARTS:
			for (int i = 0; i < batch->part_count; i++)
			{
				Job *part = &batch->parts[i];

				if (part->state != JOB_REPORTING || part->report_at > now)
					continue;
				part->on_its_way = true;
				verbs_send_report(verbs, now, part->event_id, part->permit, &part->report);
				return true;
			}
			return false;
		case BATCH_SOME:
			verbs_send_succeed_some(verbs, now, batch->token, batch->some.data);
			break;
		case BATCH_REST:
			verbs_send_batch_report(verbs, now, batch->token, batch->except.data, &job->report);
			break;
	}
	job->on_its_way = true;
	return true;
}

Millis
batch_report_at(const Job *job)
{
	const Batch *batch = job->batch;
	Millis at = NEVER;

	if (batch->step != BATCH_PARTS)
		return job->report_at;
	for (int i = 0; i < batch->part_count; i++)
	{
		if (batch->parts[i].state == JOB_REPORTING)
			at = clock_earlier(at, batch->parts[i].report_at);
	}
	return at;
}

/* ---------- answers ---------- */

/* Of a report by the token the answer names those that were not accepted. */
static void
tell_lost(const Job *job, const Verbs *verbs)
{
	char count[16];

	if (verbs_rows(verbs) == 0)
		return;
	snprintf(count, sizeof(count), "%d", verbs_rows(verbs));
	job_log(LOG_WARNING, "report was refused for events of the batch", job, "refused", count);
}

static void
take_accepted(Job *job, Verbs *verbs, Millis now)
{
	switch (job->batch->step)
	{
		case BATCH_READ:
			take_outcomes(job, verbs, now);
			buffer_free(&job->report.output);
			job->batch->step = BATCH_PARTS;
			break;
		case BATCH_SOME:
			tell_lost(job, verbs);
			buffer_free(&job->batch->some);
			break;
		default:
			if (!job->batch->is_with_acquire)
				tell_lost(job, verbs);
			job_take_verdict(job, VERDICT_ACCEPTED, NULL, NULL, now);
	}
}

void
batch_take_verdict(Job *job, Verbs *verbs, Verdict verdict, Millis now)
{
	const char *reason = verbs_message(verbs);
	const char *sqlstate = verbs_sqlstate(verbs);
	Job *part = part_on_its_way(job->batch);

	if (part != NULL)
		job_take_verdict(part, verdict, reason, sqlstate, now);
	else if (!job->on_its_way)
		return;
	else if (verdict == VERDICT_ACCEPTED)
	{
		job->on_its_way = false;
		take_accepted(job, verbs, now);
	}
	else if (verdict == VERDICT_UNFIT && job->batch->step == BATCH_READ)
	{
		job->on_its_way = false;
		refuse_outcomes(job, reason);
		buffer_free(&job->report.output);
		job->batch->step = BATCH_REST;
	}
	else
		job_take_verdict(job, verdict, reason, sqlstate, now);
	if (job->state == JOB_REPORTING)
		find_step(job);
}

void
batch_take_loss(Job *job, Millis now)
{
	for (int i = 0; i < job->batch->part_count; i++)
	{
		Job *part = &job->batch->parts[i];

		part->repeated |= part->on_its_way;
		part->on_its_way = false;
		part->report_at = now;
	}
}

/* Those of its events that are lost are told of once; the handler is told to end when all are. */
void
batch_take_heartbeat(const Jobs *jobs, Job *job, Verbs *verbs, Millis now)
{
	Batch *batch = job->batch;
	Millis left;
	int held = verbs_read_batch_heartbeat(verbs, &left);
	int lost = atoi(batch->count) - held;
	char count[16];

	if (held > 0)
		job_set_heartbeat(jobs, job, left, now);
	else
		job->heartbeat_at = NEVER;
	/* What was reported is held no more. */
	if (job->state != JOB_RUNNING)
		return;
	snprintf(count, sizeof(count), "%d", lost);
	if (lost > batch->lost)
		job_log(LOG_WARNING, "permits of the batch are lost, or its events were canceled", job, "lost",
				count);
	batch->lost = lost;
	if (held == 0)
		job_end_handler(jobs, job, END_LOST, now);
}
