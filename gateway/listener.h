/*
 * listener.h
 *		Channels that are listened to, all of them by one connection.
 */
#ifndef EVQ_GATEWAY_LISTENER_H
#define EVQ_GATEWAY_LISTENER_H

#include <stdbool.h>

typedef struct Channel Channel;

typedef struct ChannelUser
{
	void (*listening)(Channel *channel); /* from now on notifications come; whatever came before is lost */
	void (*heard)(Channel *channel, const char *payload);
} ChannelUser;

struct Channel
{
	char name[64];
	const ChannelUser *user;
	bool is_wanted;
	bool is_active;
	Channel *next;
};

extern void listener_start(void);
extern void listener_stop(void);
extern Channel *listener_add(const char *name, const ChannelUser *user);
extern void listener_remove(Channel *channel);

#endif /* EVQ_GATEWAY_LISTENER_H */
