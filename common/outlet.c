/*
 * outlet.c
 *		Standard error, which a thread of its own writes to.
 */
#include "outlet.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Lines of so many bytes can wait. */
#define ROOM ((size_t) 262144)

/* As many as a pipe takes whole, beside other writers. */
#define LONGEST_WRITE ((size_t) 4096)

/* How long the end of the program waits for what is left, in seconds. */
#define LAST_WAIT 1

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static pthread_cond_t emptied = PTHREAD_COND_INITIALIZER;
static char ring[ROOM];
static size_t first;  /* place of the oldest byte */
static size_t length; /* of what is there; a thread only writes what it leaves there until it is written */

/* Whole lines, as many as one write takes; the mutex is held. */
static size_t
copy_lines(char *copy)
{
	size_t most = length < LONGEST_WRITE ? length : LONGEST_WRITE;
	size_t whole = 0;

	for (size_t i = 0; i < most; i++)
	{
		copy[i] = ring[(first + i) % ROOM];
		if (copy[i] == '\n')
			whole = i + 1;
	}
	return whole > 0 ? whole : most;
}

/* Writes all, or as much as can be written at all. */
static void
write_out(const char *text, size_t count)
{
	while (count > 0)
	{
		ssize_t written = write(STDERR_FILENO, text, count);

		if (written > 0)
		{
			text += written;
			count -= (size_t) written;
		}
		else if (written < 0 && errno == EAGAIN)
		{
			struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

			(void) poll(&room, 1, -1);
		}
		else if (written >= 0 || errno != EINTR)
			return;
	}
}

static void *
write_lines(void *nothing)
{
	char copy[LONGEST_WRITE];

	(void) nothing;
	pthread_mutex_lock(&mutex);
	for (;;)
	{
		size_t count;

		while (length == 0)
			pthread_cond_wait(&filled, &mutex);
		count = copy_lines(copy);
		pthread_mutex_unlock(&mutex);
		write_out(copy, count);
		pthread_mutex_lock(&mutex);
		first = (first + count) % ROOM;
		length -= count;
		if (length == 0)
			pthread_cond_signal(&emptied);
	}
	return NULL;
}

/* At the end of the program. */
static void
wait_for_writing(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LAST_WAIT;
	pthread_mutex_lock(&mutex);
	while (length > 0 && pthread_cond_timedwait(&emptied, &mutex, &until) == 0)
		;
	pthread_mutex_unlock(&mutex);
}

/* The thread hears no signals: they are the program's. */
static bool
start_thread(void)
{
	pthread_t thread;
	sigset_t all;
	sigset_t before;
	bool started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&thread, NULL, write_lines, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (started)
	{
		pthread_detach(thread);
		(void) atexit(wait_for_writing);
	}
	return started;
}

/* false = there is no room, as nobody reads what was written before; the line is lost. */
bool
outlet_write(const char *line, size_t count)
{
	static bool has_thread;
	bool fits;

	if (!has_thread)
		has_thread = start_thread();
	if (!has_thread)
	{
		struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

		return poll(&room, 1, 0) > 0 && write(STDERR_FILENO, line, count) >= 0;
	}
	pthread_mutex_lock(&mutex);
	fits = count <= ROOM - length;
	if (fits)
	{
		size_t place = (first + length) % ROOM;
		size_t until_end = ROOM - place < count ? ROOM - place : count;

		memcpy(ring + place, line, until_end);
		memcpy(ring, line + until_end, count - until_end);
		length += count;
		pthread_cond_signal(&filled);
	}
	pthread_mutex_unlock(&mutex);
	return fits;
}
