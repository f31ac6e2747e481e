/*
 * names.c
 *		A name server that does not answer: getaddrinfo() of names that end in .slow waits until the file $SLOW_NAMES is
 *		there, and then gives the address of this machine.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	int (*original)(const char *, const char *, const struct addrinfo *,
					struct addrinfo **) = (int (*)(const char *, const char *, const struct addrinfo *,
												   struct addrinfo **)) dlsym(RTLD_NEXT, "getaddrinfo");
	size_t length = node == NULL ? 0 : strlen(node);

	if (length < 5 || strcmp(node + length - 5, ".slow") != 0)
		return original(node, service, hints, found);
	/* An address that it is not is told at once. */
	if (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0)
		return EAI_NONAME;
	while (access(getenv("SLOW_NAMES"), F_OK) != 0)
		usleep(20000);
	return original("127.0.0.1", service, hints, found);
}
