/*
 * loop.c
 *		The worker: one loop over the connection and the handlers.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "loop.h"
#include "memory.h"
#include "session.h"

/* How long to try the last reports when told to end. */
#define LAST_REPORTS 10000

typedef struct Worker
{
	const Options *options;
	Session *session;
	Jobs jobs;
	struct pollfd *polls; /* the connection, then HANDLER_PIPES for each job */
	nfds_t poll_count;
	int stop_requests; /* of the signals, those that were acted on */
	Millis drain_until;
	Millis give_up_at;
} Worker;

static volatile sig_atomic_t stop_signals = 0;
static volatile sig_atomic_t child_signals = 0;

static void
count_stop(int number)
{
	(void) number;
	stop_signals = stop_signals + 1;
}

static void
note_child(int number)
{
	(void) number;
	child_signals = 1;
}

/* Signals are held up except while the loop waits, with the open mask. Handlers get the mask that we got. */
static void
set_signals(sigset_t *inherited_mask, sigset_t *open_mask)
{
	struct sigaction stop = {.sa_handler = count_stop};
	struct sigaction child = {.sa_handler = note_child, .sa_flags = SA_NOCLDSTOP};
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGTERM);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGCHLD);
	sigprocmask(SIG_BLOCK, &held, inherited_mask);
	*open_mask = *inherited_mask;
	sigdelset(open_mask, SIGTERM);
	sigdelset(open_mask, SIGINT);
	sigdelset(open_mask, SIGCHLD);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGCHLD, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---------- the end ---------- */

static void
kill_handlers(Worker *worker, Millis now)
{
	for (int i = 0; i < worker->jobs.count; i++)
	{
		Job *job = &worker->jobs.items[i];

		if (job->state != JOB_RUNNING)
			continue;
		job_end_handler(&worker->jobs, job, END_DRAIN, now);
		job->kill_at = now;
	}
}

static void
take_stop_signals(Worker *worker, Millis now)
{
	for (; worker->stop_requests < stop_signals; worker->stop_requests++)
	{
		char running[16];

		snprintf(running, sizeof(running), "%d", jobs_in_state(&worker->jobs, JOB_RUNNING));
		switch (worker->stop_requests)
		{
			case 0:
				log_write(LOG_INFO, "told to end, waiting for handlers", "running", running, NULL);
				session_stop_acquiring(worker->session);
				worker->drain_until = now + worker->options->drain;
				break;
			case 1:
				log_write(LOG_WARNING, "told to end at once, handlers are killed", "running", running, NULL);
				kill_handlers(worker, now);
				break;
			default:
				worker->give_up_at = now;
				break;
		}
	}
}

/* True when there is nothing left to do, or no time; status is what to exit with then. */
static bool
is_over(Worker *worker, Millis now, int *status)
{
	if (worker->stop_requests == 0 || jobs_in_state(&worker->jobs, JOB_RUNNING) > 0)
		return false;
	if (worker->give_up_at == NEVER)
		worker->give_up_at = now + LAST_REPORTS;

	/* An answer on its way may bring events, to be given back. */
	*status = EXIT_SUCCESS;
	if (jobs_in_state(&worker->jobs, JOB_REPORTING) == 0 && !session_is_waiting(worker->session))
		return true;
	if (now < worker->give_up_at)
		return false;
	for (int i = 0; i < worker->jobs.count; i++)
	{
		const Job *job = &worker->jobs.items[i];

		if (job->state == JOB_REPORTING)
			job_log(LOG_ERROR, "event is left to its permit's timeout", job, "unreported",
					job_report_name(job));
	}
	*status = EX_UNAVAILABLE;
	return true;
}

/* ---------- the loop ---------- */

static struct pollfd *
polls_of(const Worker *worker, int slot)
{
	return worker->polls + 1 + (ptrdiff_t) slot * HANDLER_PIPES;
}

/*
 * As process 1 of a container the worker is the parent of all whose own has
 * ended. The end of a handler is left to who waits for it, and stops the
 * search: it is the first that is found until then.
 */
static void
reap_orphans(const Worker *worker)
{
	if (getpid() != 1)
		return;
	for (;;)
	{
		siginfo_t info = {0};

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
			return;
		if (jobs_have_handler(&worker->jobs, info.si_pid))
		{
			/* Look again when it is gone. */
			child_signals = 1;
			return;
		}
		waitpid(info.si_pid, NULL, 0);
	}
}

static void
advance_handlers(Worker *worker, Millis now)
{
	bool child_ended = child_signals != 0;

	child_signals = 0;
	if (child_ended)
		reap_orphans(worker);
	for (int i = 0; i < worker->jobs.count; i++)
	{
		Job *job = &worker->jobs.items[i];

		if (job->state != JOB_RUNNING)
			continue;
		if (now >= worker->drain_until)
			job_end_handler(&worker->jobs, job, END_DRAIN, now);
		job_advance(&worker->jobs, job, polls_of(worker, i), child_ended, now);
	}
}

/* When to go on even if nothing happens. */
static Millis
wake_at(const Worker *worker)
{
	Millis wake = session_wake_at(worker->session);

	if (worker->stop_requests > 0)
		wake = clock_earlier(wake, worker->give_up_at);
	for (int i = 0; i < worker->jobs.count; i++)
	{
		const Job *job = &worker->jobs.items[i];

		if (job->state != JOB_RUNNING)
			continue;
		wake = clock_earlier(wake, job->kill_at);
		if (job->end_reason == END_NONE)
			wake = clock_earlier(wake, job->timeout_at);
		if (job->end_reason == END_NONE)
			wake = clock_earlier(wake, worker->drain_until);
	}
	return wake;
}

static void
wait_for_news(Worker *worker, const sigset_t *open_mask)
{
	Millis wake = wake_at(worker);
	Millis left = wake - clock_now();
	struct timespec timeout = {0};

	session_ask_poll(worker->session, &worker->polls[0]);
	for (int i = 0; i < worker->jobs.count; i++)
	{
		struct pollfd *polls = polls_of(worker, i);

		if (worker->jobs.items[i].handler != NULL)
			handler_ask_poll(worker->jobs.items[i].handler, polls);
		else
		{
			for (int j = 0; j < HANDLER_PIPES; j++)
				polls[j] = (struct pollfd){.fd = -1};
		}
	}
	if (left > 0 && child_signals == 0)
	{
		timeout.tv_sec = left / 1000;
		timeout.tv_nsec = (long) (left % 1000) * 1000000;
	}
	if (ppoll(worker->polls, worker->poll_count, wake == NEVER && child_signals == 0 ? NULL : &timeout,
			  open_mask) < 0)
	{
		if (errno != EINTR)
		{
			log_write(LOG_ERROR, "cannot wait for events and handlers", "reason", strerror(errno), NULL);
			exit(EX_OSERR);
		}
		/* A signal: no descriptor has news. */
		for (nfds_t i = 0; i < worker->poll_count; i++)
			worker->polls[i].revents = 0;
	}
}

int
loop_run(const Options *options)
{
	Worker worker = {.options = options, .drain_until = NEVER, .give_up_at = NEVER};
	sigset_t inherited_mask;
	sigset_t open_mask;
	int status = EXIT_SUCCESS;

	set_signals(&inherited_mask, &open_mask);
	jobs_init(&worker.jobs, options, &inherited_mask);
	worker.session = session_create(options, &worker.jobs);
	worker.poll_count = 1 + (nfds_t) options->concurrency * HANDLER_PIPES;
	worker.polls = memory_array(worker.poll_count, sizeof(struct pollfd));
	log_write(LOG_INFO, "started", "name", options->name, "flow",
			  options->flow_count == 1 ? options->flow_names[0] : options->flows, NULL);

	for (;;)
	{
		Millis now = clock_now();

		take_stop_signals(&worker, now);
		session_advance(worker.session, worker.polls[0].revents, now);
		advance_handlers(&worker, now);
		if (session_is_hopeless(worker.session))
		{
			status = EX_CONFIG;
			break;
		}
		if (is_over(&worker, now, &status))
			break;
		session_ask(worker.session, now);
		wait_for_news(&worker, &open_mask);
	}

	session_destroy(worker.session);
	jobs_destroy(&worker.jobs);
	free(worker.polls);
	log_write(LOG_INFO, "ended", NULL);
	return status;
}
