/*
 * hosts.h
 *		Which names this server goes by, and which web pages may call it.
 */
#ifndef EVQ_GATEWAY_HOSTS_H
#define EVQ_GATEWAY_HOSTS_H

#include <stdbool.h>

#define HOSTS_MAX 32

typedef struct Hosts
{
	const char *names[HOSTS_MAX]; /* beside those of the local machine; with a port, only at that port */
	int name_count;
	const char *origins[HOSTS_MAX]; /* beside the server's own */
	int origin_count;
} Hosts;

extern bool hosts_is_name(const char *name);
extern bool hosts_is_origin(const char *origin);
extern bool hosts_serves(const Hosts *hosts, const char *host);
extern bool hosts_lists_origin(const Hosts *hosts, const char *origin);
extern bool hosts_admits_origin(const Hosts *hosts, const char *origin, const char *host);

#endif /* EVQ_GATEWAY_HOSTS_H */
