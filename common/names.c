/*
 * names.c
 *		The addresses of a host by its name.
 *
 * Only getaddrinfo() knows all that a system may ask for names, and it waits for the answer. So a thread calls it. Those
 * who ask for a name while somebody has asked for it already have the same answer; so there are no more threads than
 * names, however long a name server does not answer.
 */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory.h"

/* What was asked, and its answer. It belongs to those who ask and to the thread that asks for them. */
typedef struct Question
{
	char *name;
	int users;
	int event_fd; /* readable once it is answered */
	bool is_answered;
	int error; /* as getaddrinfo() says */
	int count;
	Address addresses[NAMES_MOST_ADDRESSES];
	struct Question *next;
} Question;

struct Lookup
{
	Question *question;
	int fd; /* one of its own, as many may wait for it */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Question *open_questions;

/* Is it an address already, not a name? */
bool
names_is_address(const char *host)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	struct addrinfo *found;

	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return false;
	freeaddrinfo(found);
	return true;
}

/* The mutex is held. */
static void
leave(Question *question)
{
	if (--question->users > 0)
		return;
	close(question->event_fd);
	free(question->name);
	free(question);
}

static void *
look_up(void *argument)
{
	Question *question = argument;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	int error = getaddrinfo(question->name, NULL, &hints, &found);
	int count = 0;
	Address addresses[NAMES_MOST_ADDRESSES];
	Question **link = &open_questions;

	for (struct addrinfo *one = found; error == 0 && one != NULL && count < NAMES_MOST_ADDRESSES;
		 one = one->ai_next)
	{
		if (getnameinfo(one->ai_addr, one->ai_addrlen, addresses[count], NAMES_ADDRESS_SIZE, NULL, 0,
						NI_NUMERICHOST) == 0)
			count++;
	}
	if (found != NULL)
		freeaddrinfo(found);

	pthread_mutex_lock(&mutex);
	question->error = error == 0 && count == 0 ? EAI_NONAME : error;
	question->count = count;
	memcpy(question->addresses, addresses, sizeof(Address) * (size_t) count);
	question->is_answered = true;
	while (*link != question)
		link = &(*link)->next;
	*link = question->next;
	(void) !eventfd_write(question->event_fd, 1);
	leave(question);
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static bool
start_thread(Question *question)
{
	pthread_t thread;
	sigset_t all;
	sigset_t before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, look_up, question);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_detach(thread);
	errno = error;
	return error == 0;
}

/* The mutex is held. NULL = it cannot be asked, see errno. */
static Question *
find_question(const char *name)
{
	Question *question = open_questions;

	while (question != NULL && strcmp(question->name, name) != 0)
		question = question->next;
	if (question != NULL)
	{
		question->users++;
		return question;
	}
	question = memory_new(sizeof(Question));
	question->name = memory_string(name);
	question->users = 2; /* the thread too */
	question->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (question->event_fd >= 0 && start_thread(question))
	{
		question->next = open_questions;
		open_questions = question;
		return question;
	}
	if (question->event_fd >= 0)
		close(question->event_fd);
	free(question->name);
	free(question);
	return NULL;
}

/* NULL = it cannot be asked, see errno. To be forgotten in any case. */
Lookup *
names_ask(const char *name)
{
	Lookup *lookup = memory_new(sizeof(Lookup));
	int error;

	pthread_mutex_lock(&mutex);
	lookup->question = find_question(name);
	error = errno;
	if (lookup->question != NULL)
	{
		lookup->fd = fcntl(lookup->question->event_fd, F_DUPFD_CLOEXEC, 0);
		error = errno;
		if (lookup->fd < 0)
			leave(lookup->question);
	}
	pthread_mutex_unlock(&mutex);
	if (lookup->question != NULL && lookup->fd >= 0)
		return lookup;
	free(lookup);
	errno = error;
	return NULL;
}

/* Readable once there is an answer. */
int
names_fd(const Lookup *lookup)
{
	return lookup->fd;
}

/* How many addresses it has; -1 = there is no answer yet. 0: see error. */
int
names_answer(const Lookup *lookup, Address addresses[NAMES_MOST_ADDRESSES], const char **error)
{
	const Question *question = lookup->question;
	int count = -1;

	*error = NULL;
	pthread_mutex_lock(&mutex);
	if (question->is_answered)
	{
		count = question->error == 0 ? question->count : 0;
		memcpy(addresses, question->addresses, sizeof(Address) * (size_t) count);
		if (count == 0)
			*error = gai_strerror(question->error);
	}
	pthread_mutex_unlock(&mutex);
	return count;
}

/* Whoever asked does not need the answer any more. */
void
names_forget(Lookup *lookup)
{
	close(lookup->fd);
	pthread_mutex_lock(&mutex);
	leave(lookup->question);
	pthread_mutex_unlock(&mutex);
	free(lookup);
}
