/*
 * batch.h
 *		The report on a batch, step by step.
 */
#ifndef EVQ_WORKER_BATCH_H
#define EVQ_WORKER_BATCH_H

#include "job.h"

/* Is the rest of it done, so that its report can go with the next acquisition? */
extern bool batch_is_plain_success(const Job *job, Millis now);
extern void batch_send_with_acquire(Job *job, Verbs *verbs, Millis now, int flow, int max_events);

/* Sends what is due of its report; false = nothing is. */
extern bool batch_send_report(Job *job, Verbs *verbs, Millis now);
extern Millis batch_report_at(const Job *job);
extern void batch_take_verdict(Job *job, Verbs *verbs, Verdict verdict, Millis now);

/* Nobody knows what became of what was on its way; it is due again. */
extern void batch_take_loss(Job *job, Millis now);

extern void batch_take_heartbeat(const Jobs *jobs, Job *job, Verbs *verbs, Millis now);

#endif /* EVQ_WORKER_BATCH_H */
