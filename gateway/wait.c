/*
 * wait.c
 *		Requests that wait until a channel, or one of several, is notified.
 *
 * Notifications are hints: when a channel is notified, when it has begun to be listened to, and now and then without a
 * reason, one of those who wait for the same asks again, the one who has waited the longest. If there was something for
 * it there may be more, and the next ones ask. So an event costs a question or two, however many wait for it.
 */
#include "wait.h"

#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "listener.h"
#include "loop.h"
#include "memory.h"

#define ASK_EVERY 2000
#define KEEP_CHANNEL 60000
#define MOST_ASKERS 4

typedef struct Wait Wait;

/* The requests that wait for the same: of the same channels, role, and choice. Kept for a while when there are none: the next
 * may be on its way. */
typedef struct Group
{
	char *names; /* of the channels, with blanks between */
	Channel **channels;
	int channel_count;
	char *role;   /* NULL = that of the gateway's own connection */
	char *choice; /* what of that which the channel tells of */
	Wait *first;  /* in the order in which they came */
	int asking;
	int may_ask;   /* so many more, as there may be something for each */
	bool has_news; /* something was told while one asked */
	Timer ask_timer;
	Timer leave_timer;
	struct Group *next;
} Group;

struct Wait
{
	Request *request;
	void (*ask)(Request *request);
	void (*give_up)(Request *request);
	Group *group;
	bool is_asking;
	Timer end_timer;
	Wait *next;
};

static Group *groups;
static bool ending;

static bool
is_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
has_channel(const Group *group, const Channel *channel)
{
	for (int i = 0; i < group->channel_count; i++)
	{
		if (group->channels[i] == channel)
			return true;
	}
	return false;
}

/* Does anybody wait for it? */
static bool
is_channel_used(const Channel *channel)
{
	for (const Group *group = groups; group != NULL; group = group->next)
	{
		if (has_channel(group, channel))
			return true;
	}
	return false;
}

static void
leave_channels(Timer *timer)
{
	Group *group = LOOP_OWNER(Group, leave_timer, timer);
	Group **link = &groups;

	loop_clear_timer(&group->ask_timer);
	while (*link != group)
		link = &(*link)->next;
	*link = group->next;
	for (int i = 0; i < group->channel_count; i++)
	{
		if (!is_channel_used(group->channels[i]))
			listener_remove(group->channels[i]);
	}
	free(group->names);
	free(group->channels);
	free(group->role);
	free(group->choice);
	free(group);
}

/* Has as many ask as may. */
static void
ask(Group *group)
{
	while (group->may_ask > 0 && group->asking < MOST_ASKERS)
	{
		Wait *wait = group->first;

		while (wait != NULL && wait->is_asking)
			wait = wait->next;
		if (wait == NULL)
			break;
		/* What is acquired for a client that has left would be lost until its permit runs out. */
		if (request_is_gone(wait->request) || !access_confirm(wait->request))
		{
			wait->give_up(wait->request);
			continue;
		}
		group->may_ask--;
		group->asking++;
		wait->is_asking = true;
		wait->ask(wait->request);
	}
	if (group->asking == 0)
		group->may_ask = 0;
	loop_set_timer(&group->ask_timer, ASK_EVERY);
}

/* There may be something. Who is asking may have asked too early. */
static void
begin_to_ask(Group *group)
{
	group->has_news = group->asking > 0;
	if (group->may_ask == 0)
		group->may_ask = 1;
	ask(group);
}

static void
take_ask_timer(Timer *timer)
{
	Group *group = LOOP_OWNER(Group, ask_timer, timer);

	if (group->first != NULL)
		begin_to_ask(group);
}

static void
ask_all(Channel *channel)
{
	Group *next;

	for (Group *group = groups; group != NULL; group = next)
	{
		next = group->next;
		if (has_channel(group, channel) && group->first != NULL)
			begin_to_ask(group);
	}
}

static void
hear(Channel *channel, const char *payload)
{
	(void) payload;
	ask_all(channel);
}

static const ChannelUser channel_user = {ask_all, hear};

/* Listens to the channels of a group. */
static void
add_channels(Group *group)
{
	const char *name = group->names;

	while (*name != '\0')
	{
		size_t length = strcspn(name, " ");
		char one[sizeof(group->channels[0]->name)] = "";

		if (length > 0 && length < sizeof(one))
		{
			memcpy(one, name, length);
			group->channels = memory_grow(group->channels,
										  (size_t) (group->channel_count + 1) * sizeof(Channel *));
			group->channels[group->channel_count++] = listener_add(one, &channel_user);
		}
		name += length + (name[length] == ' ');
	}
}

static bool
is_listening(const Group *group)
{
	for (int i = 0; i < group->channel_count; i++)
	{
		if (!group->channels[i]->is_active)
			return false;
	}
	return true;
}

static Group *
find_group(const char *names, const char *role, const char *choice)
{
	Group *group = groups;

	while (group != NULL && (strcmp(group->names, names) != 0 || !is_same(group->role, role) ||
							 strcmp(group->choice, choice) != 0))
		group = group->next;
	if (group != NULL)
		return group;
	group = memory_new(sizeof(Group));
	group->ask_timer.due = take_ask_timer;
	group->leave_timer.due = leave_channels;
	group->role = role != NULL ? memory_string(role) : NULL;
	group->choice = memory_string(choice);
	group->names = memory_string(names);
	add_channels(group);
	group->next = groups;
	groups = group;
	return group;
}

static void
take_end(Timer *timer)
{
	Wait *wait = LOOP_OWNER(Wait, end_timer, timer);

	/* Who asks has an answer soon, and gives up then. */
	if (!wait->is_asking)
		wait->give_up(wait->request);
}

static Wait *
new_wait(Request *request, const char *channels, const char *choice, int milliseconds)
{
	Wait *wait = memory_new(sizeof(Wait));
	Wait **end;

	wait->request = request;
	wait->group = find_group(channels, request->role, choice);
	wait->end_timer.due = take_end;
	end = &wait->group->first;
	while (*end != NULL)
		end = &(*end)->next;
	*end = wait;
	loop_clear_timer(&wait->group->leave_timer);
	loop_set_timer(&wait->end_timer, milliseconds);
	request->wait = wait;
	/* Between its first question and now it may have missed something. */
	loop_set_timer(&wait->group->ask_timer, is_listening(wait->group) ? 0 : ASK_EVERY);
	return wait;
}

static void
stop_asking(Wait *wait)
{
	if (!wait->is_asking)
		return;
	wait->is_asking = false;
	wait->group->asking--;
}

/*
 * The request has asked in vain: lets it ask again in time, or give up. false = its time is over. milliseconds: how long
 * it waits, counted from its first call of this. channels: their names, with blanks between. choice: who waits for
 * the same has the same.
 */
bool
wait_begin(Request *request, const char *channels, const char *choice, int milliseconds,
		   void (*ask_database)(Request *request), void (*give_up)(Request *request))
{
	Wait *wait = request->wait;

	if (wait == NULL)
		wait = new_wait(request, channels, choice, milliseconds);
	wait->ask = ask_database;
	wait->give_up = give_up;
	stop_asking(wait);
	if (ending || !wait->end_timer.is_set || !access_confirm(request))
		return false;
	wait->group->may_ask = 0;
	if (wait->group->has_news)
		loop_set_timer(&wait->group->ask_timer, 0);
	return true;
}

/* It does not wait any more. has_something: it was given what it waited for. */
void
wait_done(Request *request, bool has_something)
{
	Wait *wait = request->wait;
	Group *group;
	Wait **link;

	if (wait == NULL)
		return;
	group = wait->group;
	request->wait = NULL;
	loop_clear_timer(&wait->end_timer);
	stop_asking(wait);
	link = &group->first;
	while (*link != wait)
		link = &(*link)->next;
	*link = wait->next;
	free(wait);
	if (has_something)
		group->may_ask += 2;
	if (group->first == NULL)
	{
		group->may_ask = 0;
		loop_clear_timer(&group->ask_timer);
		loop_set_timer(&group->leave_timer, KEEP_CHANNEL);
	}
	else if (group->may_ask > 0)
		loop_set_timer(&group->ask_timer, 0);
}

/* Its client has left. */
void
wait_leave(Request *request)
{
	if (request->wait != NULL && !request->wait->is_asking)
		request->wait->give_up(request);
}

/* Tokens may have expired, or be gone. Who is asking is looked at when the answer comes. */
void
wait_review(void)
{
	Wait *next;

	for (Group *group = groups; group != NULL; group = group->next)
	{
		for (Wait *wait = group->first; wait != NULL; wait = next)
		{
			next = wait->next;
			if (!wait->is_asking && !access_confirm(wait->request))
				wait->give_up(wait->request);
		}
	}
}

/* Nobody waits any longer; those who are asking have their answer soon. */
void
wait_end_all(void)
{
	Wait *next;

	ending = true;
	for (Group *group = groups; group != NULL; group = group->next)
	{
		for (Wait *wait = group->first; wait != NULL; wait = next)
		{
			next = wait->next;
			if (!wait->is_asking)
				wait->give_up(wait->request);
		}
	}
}
