/*
 * wait.c
 *		Requests that wait until a channel is notified.
 *
 * Notifications are hints: a request asks again when its channel is notified, when it has begun to listen, and now and
 * then without a reason.
 */
#include "wait.h"

#include <stdlib.h>
#include <string.h>

#include "listener.h"
#include "loop.h"
#include "memory.h"

#define ASK_EVERY 2000
#define KEEP_CHANNEL 60000

typedef struct Wait Wait;

/* The requests that wait for one channel. It is kept for a while when there are none: the next may be on its way. */
typedef struct Group
{
	Channel *channel;
	Wait *waits;
	Timer leave_timer;
	struct Group *next;
} Group;

struct Wait
{
	Request *request;
	void (*ask)(Request *request);
	void (*give_up)(Request *request);
	Group *group;
	int64_t until;
	bool is_asking;
	bool ask_again; /* something happened since it asked */
	Timer timer;    /* the next time to ask, or the end */
	Wait *next;
};

static Group *groups;
static bool ending;

static void
leave_channel(Timer *timer)
{
	Group *group = LOOP_OWNER(Group, leave_timer, timer);
	Group **link = &groups;

	while (*link != group)
		link = &(*link)->next;
	*link = group->next;
	listener_remove(group->channel);
	free(group);
}

static void
ask(Wait *wait)
{
	if (wait->is_asking)
	{
		wait->ask_again = true;
		return;
	}
	/* What is acquired for a client that has left would be lost until its permit runs out. */
	if (request_is_gone(wait->request) || loop_now() >= wait->until)
	{
		wait->give_up(wait->request);
		return;
	}
	loop_clear_timer(&wait->timer);
	wait->is_asking = true;
	wait->ask_again = false;
	wait->ask(wait->request);
}

static void
ask_all(Channel *channel)
{
	Group *group = groups;
	Wait *next;

	while (group != NULL && group->channel != channel)
		group = group->next;
	for (Wait *wait = group != NULL ? group->waits : NULL; wait != NULL; wait = next)
	{
		next = wait->next;
		ask(wait);
	}
}

static void
hear(Channel *channel, const char *payload)
{
	(void) payload;
	ask_all(channel);
}

static const ChannelUser channel_user = {ask_all, hear};

static Group *
find_group(const char *name)
{
	Group *group = groups;

	while (group != NULL && strcmp(group->channel->name, name) != 0)
		group = group->next;
	if (group != NULL)
		return group;
	group = memory_new(sizeof(Group));
	group->leave_timer.due = leave_channel;
	group->channel = listener_add(name, &channel_user);
	group->next = groups;
	groups = group;
	return group;
}

static void
take_timer(Timer *timer)
{
	ask(LOOP_OWNER(Wait, timer, timer));
}

static Wait *
new_wait(Request *request, const char *channel, int milliseconds)
{
	Wait *wait = memory_new(sizeof(Wait));

	wait->request = request;
	wait->group = find_group(channel);
	wait->until = loop_now() + milliseconds;
	wait->timer.due = take_timer;
	wait->next = wait->group->waits;
	wait->group->waits = wait;
	loop_clear_timer(&wait->group->leave_timer);
	/* Between its first question and now it may have missed something. */
	wait->ask_again = wait->group->channel->is_active;
	request->wait = wait;
	return wait;
}

/*
 * The request has asked in vain: lets it ask again in time, or give up. false = its time is over. milliseconds: how long
 * it waits, counted from its first call of this.
 */
bool
wait_begin(Request *request, const char *channel, int milliseconds, void (*ask_database)(Request *request),
		   void (*give_up)(Request *request))
{
	Wait *wait = request->wait;
	int64_t left;

	if (wait == NULL)
		wait = new_wait(request, channel, milliseconds);
	wait->ask = ask_database;
	wait->give_up = give_up;
	wait->is_asking = false;
	left = wait->until - loop_now();
	if (left <= 0 || ending)
		return false;
	loop_set_timer(&wait->timer, wait->ask_again ? 0 : left < ASK_EVERY ? left : ASK_EVERY);
	return true;
}

/* It does not wait any more. */
void
wait_done(Request *request)
{
	Wait *wait = request->wait;
	Wait **link;

	if (wait == NULL)
		return;
	request->wait = NULL;
	loop_clear_timer(&wait->timer);
	link = &wait->group->waits;
	while (*link != wait)
		link = &(*link)->next;
	*link = wait->next;
	if (wait->group->waits == NULL)
		loop_set_timer(&wait->group->leave_timer, KEEP_CHANNEL);
	free(wait);
}

/* Nobody waits any longer; those who are asking have their answer soon. */
void
wait_end_all(void)
{
	Wait *next;

	ending = true;
	for (Group *group = groups; group != NULL; group = group->next)
	{
		for (Wait *wait = group->waits; wait != NULL; wait = next)
		{
			next = wait->next;
			if (!wait->is_asking)
				wait->give_up(wait->request);
		}
	}
}
