/*
 * job.h
 *		An event, or a batch of them, on its way through the worker: its handler runs, then its report is due until it is
 *		answered.
 */
#ifndef EVQ_WORKER_JOB_H
#define EVQ_WORKER_JOB_H

#include "handler.h"
#include "log.h"
#include "options.h"
#include "verbs.h"

typedef enum JobState
{
	JOB_FREE,
	JOB_RUNNING,
	JOB_REPORTING
} JobState;

/* Why a handler was told to end. */
typedef enum EndReason
{
	END_NONE,
	END_LOST,     /* the event is not ours any more: there is nothing to report */
	END_DRAIN,    /* the worker ends: what is not done is given back */
	END_TOO_MUCH, /* its report is longer than it may be */
	END_TIMEOUT   /* it runs for longer than it may */
} EndReason;

typedef struct Job Job;

/* What the report on a batch is at: see batch.c. */
typedef enum BatchStep
{
	BATCH_READ,  /* what the handler wrote is to be taken apart */
	BATCH_PARTS, /* events that have a report of their own */
	BATCH_SOME,  /* those that the handler names as done, where the others are not */
	BATCH_REST   /* all others, by the exit status */
} BatchStep;

/* Of a job that is a batch. */
typedef struct Batch
{
	char *token;
	char *flow_type;
	char *count; /* of its events */
	int rest;    /* how many have no report of their own */
	int lost;    /* of how many it is known that they are ours no more */
	BatchStep step;
	bool is_with_acquire; /* the report that is on its way */
	Job *parts;           /* jobs of one event each, REPORTING or FREE */
	int part_count;
	Buffer some;   /* ids of those named as done, as an array */
	Buffer except; /* ids of all that are not the rest */
} Batch;

struct Job
{
	JobState state;
	Batch *batch;   /* NULL = it is one event */
	char *event_id; /* of one event, as those that follow */
	char *permit;
	char *event_type;
	char *flow_id;
	char *attempt;
	Handler *handler; /* while RUNNING */
	Millis started_at;
	Millis heartbeat_at;
	Millis timeout_at; /* NEVER = no limit */
	EndReason end_reason;
	Millis kill_at; /* NEVER = it was not told to end, or killed already */
	Report report;  /* while REPORTING, as the rest */
	Millis report_at;
	Millis report_pause;
	bool on_its_way;
	bool repeated;
};

/* All that there is room for. */
typedef struct Jobs
{
	const Options *options;
	HandlerSetting handler_setting;
	int count;
	Job *items;
} Jobs;

extern void jobs_init(Jobs *jobs, const Options *options, const sigset_t *signal_mask);
extern void jobs_destroy(Jobs *jobs);
extern int jobs_in_state(const Jobs *jobs, JobState state);

/* A free one takes the event; job_run() false = its handler could not be started, see errno. */
extern Job *jobs_take(Jobs *jobs, const Acquired *acquired, Millis now);
extern bool job_run(const Jobs *jobs, Job *job, const Acquired *acquired);

/* The same with a batch. */
extern Job *jobs_take_batch(Jobs *jobs, const AcquiredBatch *acquired, Millis now);
extern bool job_run_batch(const Jobs *jobs, Job *job, const AcquiredBatch *acquired);

extern void job_free(Job *job);

extern void job_set_heartbeat(const Jobs *jobs, Job *job, Millis left, Millis now);
/* A process that ended: is it a handler that somebody waits for? */
extern bool jobs_have_handler(const Jobs *jobs, pid_t pid);

extern void job_end_handler(const Jobs *jobs, Job *job, EndReason reason, Millis now);
extern void job_advance(const Jobs *jobs, Job *job, const struct pollfd polls[HANDLER_PIPES],
						bool child_ended, Millis now);

extern void job_report(Job *job, ReportKind kind, Millis now);
extern const char *job_report_name(const Job *job);
extern void job_take_verdict(Job *job, Verdict verdict, const char *reason, const char *sqlstate, Millis now);

extern void job_log(LogLevel level, const char *message, const Job *job, const char *key, const char *value);

#endif /* EVQ_WORKER_JOB_H */
