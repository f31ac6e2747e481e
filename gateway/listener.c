/*
 * listener.c
 *		Channels that are listened to, all of them by one connection.
 *
 * Whatever a database notifies wakes every session that listens to anything, so one listens for all, and to nothing
 * that nobody waits for.
 */
#include "listener.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "memory.h"

static Connection connection;
static Channel *channels;
static Channel *changing; /* the one whose LISTEN or UNLISTEN is under way */

static void
forget(Channel *channel)
{
	Channel **link = &channels;

	while (*link != channel)
		link = &(*link)->next;
	*link = channel->next;
	free(channel);
}

/* One change at a time: begins the next that is needed. */
static void
change_next(void)
{
	Channel *channel = channels;
	char sql[160];
	char *name;

	if (connection.state != CONNECTION_UP || changing != NULL)
		return;
	while (channel != NULL && channel->is_wanted == channel->is_active)
		channel = channel->next;
	if (channel == NULL)
		return;
	name = PQescapeIdentifier(connection.pg, channel->name, strlen(channel->name));
	if (name != NULL)
	{
		snprintf(sql, sizeof(sql), "%s %s", channel->is_wanted ? "LISTEN" : "UNLISTEN", name);
		PQfreemem(name);
		if (PQsendQuery(connection.pg, sql) != 0)
		{
			changing = channel;
			connection_flush(&connection);
			return;
		}
	}
	loop_set_timer(&connection.timer, 0);
}

static void
begin_listening(Connection *listener)
{
	(void) listener;
	change_next();
}

static void
finish_change(void)
{
	Channel *channel = changing;
	PGresult *result;

	/* Its end may come later than the result. */
	while (!PQisBusy(connection.pg) && (result = PQgetResult(connection.pg)) != NULL)
	{
		bool done = PQresultStatus(result) == PGRES_COMMAND_OK;

		PQclear(result);
		if (!done)
		{
			changing = NULL;
			connection_fail(&connection, PQerrorMessage(connection.pg));
			return;
		}
	}
	if (PQisBusy(connection.pg))
		return;
	changing = NULL;
	channel->is_active = !channel->is_active;
	if (!channel->is_wanted && !channel->is_active)
		forget(channel);
	else if (channel->is_wanted && channel->is_active)
		channel->user->listening(channel);
	change_next();
}

static void
take_notifications(Connection *listener)
{
	PGnotify *notification;

	(void) listener;
	while ((notification = PQnotifies(connection.pg)) != NULL)
	{
		for (Channel *channel = channels; channel != NULL; channel = channel->next)
		{
			if (channel->is_wanted && strcmp(channel->name, notification->relname) == 0)
			{
				channel->user->heard(channel, notification->extra);
				break;
			}
		}
		PQfreemem(notification);
	}
	if (changing != NULL)
		finish_change();
}

/* A new connection listens to nothing yet. */
static void
stop_listening(Connection *listener)
{
	Channel *next;

	(void) listener;
	changing = NULL;
	for (Channel *channel = channels; channel != NULL; channel = next)
	{
		next = channel->next;
		channel->is_active = false;
		if (!channel->is_wanted)
			forget(channel);
	}
}

static const ConnectionUser listener_user = {.name = "notifications",
											 .up = begin_listening,
											 .readable = take_notifications,
											 .down = stop_listening};

void
listener_start(void)
{
	connection_start(&connection, &listener_user);
}

void
listener_stop(void)
{
	connection_stop(&connection);
	while (channels != NULL)
		forget(channels);
}

/* One user a channel. */
Channel *
listener_add(const char *name, const ChannelUser *user)
{
	Channel *channel = channels;

	while (channel != NULL && strcmp(channel->name, name) != 0)
		channel = channel->next;
	if (channel == NULL)
	{
		channel = memory_new(sizeof(Channel));
		snprintf(channel->name, sizeof(channel->name), "%s", name);
		channel->next = channels;
		channels = channel;
	}
	channel->user = user;
	channel->is_wanted = true;
	change_next();
	return channel;
}

/* It may stay active for a while, but its user is not called any more. */
void
listener_remove(Channel *channel)
{
	channel->is_wanted = false;
	if (!channel->is_active && channel != changing)
		forget(channel);
	else
		change_next();
}
