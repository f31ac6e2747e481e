/*
 * hosts.c
 *		Which names this server goes by, and which web pages may call it.
 *
 * A page of another site can make a browser send requests here, and can give its own name the address of this
 * machine. The browser tells in Host and Origin; both are checked on every route.
 */
#include "hosts.h"

#include <string.h>
#include <strings.h>

#define LONGEST_NAME 255

static const char *const local_names[] = {"localhost", "127.0.0.1", "[::1]"};

/* The length of the name in front of the port; 0 = not a name with an optional port. */
static size_t
name_length(const char *host)
{
	size_t length;
	const char *port;

	if (host[0] == '[')
	{
		length = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.");
		if (length == 1 || host[length] != ']')
			return 0;
		length++;
	}
	else
		length = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
	if (length == 0 || length > LONGEST_NAME)
		return 0;
	if (host[length] == '\0')
		return length;
	port = host + length + 1;
	if (host[length] != ':' || *port == '\0' || strlen(port) > 5 || port[strspn(port, "0123456789")] != '\0')
		return 0;
	return length;
}

bool
hosts_is_name(const char *name)
{
	return name_length(name) > 0;
}

/* The name and port of an origin; NULL = not an origin. */
static const char *
origin_host(const char *origin)
{
	const char *host = strstr(origin, "://");

	if (host == NULL || (strncmp(origin, "http://", 7) != 0 && strncmp(origin, "https://", 8) != 0))
		return NULL;
	return name_length(host + 3) > 0 ? host + 3 : NULL;
}

bool
hosts_is_origin(const char *origin)
{
	return origin_host(origin) != NULL;
}

/* Is the value of a Host header one of our names? */
bool
hosts_serves(const Hosts *hosts, const char *host)
{
	size_t length = name_length(host);

	if (length == 0)
		return false;
	for (size_t i = 0; i < sizeof(local_names) / sizeof(local_names[0]); i++)
	{
		if (strlen(local_names[i]) == length && strncasecmp(local_names[i], host, length) == 0)
			return true;
	}
	for (int i = 0; i < hosts->name_count; i++)
	{
		const char *name = hosts->names[i];

		if (strcasecmp(name, host) == 0 || (strlen(name) == length && strncasecmp(name, host, length) == 0))
			return true;
	}
	return false;
}

/* Is the value of an Origin header in the list? */
bool
hosts_lists_origin(const Hosts *hosts, const char *origin)
{
	for (int i = 0; i < hosts->origin_count; i++)
	{
		if (strcasecmp(hosts->origins[i], origin) == 0)
			return true;
	}
	return false;
}

/* May pages of this origin call? Those in the list, and our own: the Host header has been checked. */
bool
hosts_admits_origin(const Hosts *hosts, const char *origin, const char *host)
{
	const char *own = origin_host(origin);

	return hosts_lists_origin(hosts, origin) || (own != NULL && strcasecmp(own, host) == 0);
}
