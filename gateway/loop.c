/*
 * loop.c
 *		The one loop: descriptors, timers and signals.
 */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_A_TURN 64
#define LAST_SIGNAL 64

static int epoll_fd = -1;
static Timer *timers; /* the next one first */
static bool ended;

/* What the present turn has still to handle; loop_unwatch() takes out what is going. */
static struct epoll_event ready_events[EVENTS_A_TURN];
static int ready_count;

static Watch signal_watch = {.fd = -1};
static sigset_t signals;
static void (*signal_handlers[LAST_SIGNAL])(void);

static void
give_up(const char *what)
{
	fprintf(stderr, "evq-gateway: %s: %s\n", what, strerror(errno));
	exit(1);
}

void
loop_init(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		give_up("epoll_create1");
	sigemptyset(&signals);
}

/* Milliseconds of a clock that nobody sets. */
int64_t
loop_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Begins to watch the descriptor, or changes what to wait for. */
void
loop_watch(Watch *watch, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (watch->fd == fd && watch->events == events)
		return;
	watch->fd = fd;
	watch->events = events;
	/* A descriptor that was closed has left by itself, and its number may be another's. */
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0 &&
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		give_up("epoll_ctl");
}

/* Before the descriptor is closed. */
void
loop_unwatch(Watch *watch)
{
	if (watch->fd < 0)
		return;
	(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	for (int i = 0; i < ready_count; i++)
	{
		if (ready_events[i].data.ptr == watch)
			ready_events[i].data.ptr = NULL;
	}
	watch->fd = -1;
	watch->events = 0;
}

void
loop_clear_timer(Timer *timer)
{
	Timer **link = &timers;

	if (!timer->is_set)
		return;
	while (*link != timer)
		link = &(*link)->next;
	*link = timer->next;
	timer->is_set = false;
}

void
loop_set_timer(Timer *timer, int64_t milliseconds)
{
	Timer **link = &timers;

	loop_clear_timer(timer);
	timer->at = loop_now() + milliseconds;
	timer->is_set = true;
	while (*link != NULL && (*link)->at <= timer->at)
		link = &(*link)->next;
	timer->next = *link;
	*link = timer;
}

static void
take_signal(Watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void) events;
	while (read(watch->fd, &info, sizeof(info)) == (ssize_t) sizeof(info))
	{
		if (info.ssi_signo < LAST_SIGNAL && signal_handlers[info.ssi_signo] != NULL)
			signal_handlers[info.ssi_signo]();
	}
}

void
loop_on_signal(int signal_number, void (*handle)(void))
{
	int fd;

	signal_handlers[signal_number] = handle;
	sigaddset(&signals, signal_number);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
		give_up("sigprocmask");
	fd = signalfd(signal_watch.fd, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		give_up("signalfd");
	signal_watch.ready = take_signal;
	loop_watch(&signal_watch, fd, EPOLLIN);
}

/* Runs until loop_end(). turn: called each turn; returns for how many milliseconds it can wait, -1 = for ever. */
void
loop_run(int (*turn)(void))
{
	while (!ended)
	{
		int wait = turn();

		if (ended)
			break;
		if (timers != NULL)
		{
			int64_t left = timers->at - loop_now();

			if (left < 0)
				left = 0;
			if (wait < 0 || left < wait)
				wait = (int) left;
		}
		ready_count = epoll_wait(epoll_fd, ready_events, EVENTS_A_TURN, wait);
		if (ready_count < 0 && errno != EINTR)
			give_up("epoll_wait");
		for (int i = 0; i < ready_count; i++)
		{
			Watch *watch = ready_events[i].data.ptr;

			if (watch != NULL)
				watch->ready(watch, ready_events[i].events);
		}
		ready_count = 0;
		while (timers != NULL && timers->at <= loop_now())
		{
			Timer *timer = timers;

			loop_clear_timer(timer);
			timer->due(timer);
		}
	}
}

void
loop_end(void)
{
	ended = true;
}
