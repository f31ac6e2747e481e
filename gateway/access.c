/*
 * access.c
 *		Whose token a request has, and whether it still counts.
 *
 * What goes on for long, a stream or a wait, is asked again: tokens expire, and may be taken out of the file.
 */
#include "access.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "memory.h"
#include "options.h"

#define BEARER "bearer"

/* The token behind "Bearer ", or, for WebSocket, in the list of protocols, where browsers can put one. NULL = none. */
static const char *
find_token(const Request *request, size_t *length)
{
	const char *authorization = request->headers.values[HEADER_AUTHORIZATION];
	const char *found;

	if (authorization != NULL)
	{
		found = authorization;
		if (strncasecmp(found, BEARER " ", sizeof(BEARER)) == 0)
			found += sizeof(BEARER);
		*length = strlen(found);
		return found;
	}
	if (request->route->kind != ROUTE_WEBSOCKET ||
		request->headers.values[HEADER_SEC_WEBSOCKET_PROTOCOL] == NULL)
		return NULL;
	found = strstr(request->headers.values[HEADER_SEC_WEBSOCKET_PROTOCOL], BEARER ".");
	if (found == NULL)
		return NULL;
	found += sizeof(BEARER);
	*length = strcspn(found, ", \t");
	return found;
}

static void
refuse(Request *request, const char *title)
{
	request_refuse(request, MHD_HTTP_UNAUTHORIZED, title, "Send the header Authorization: Bearer TOKEN.");
}

/* false = it has its answer. */
bool
access_admit(Request *request)
{
	size_t length;
	const char *token;

	request_set_role(request, options.anonymous_role);
	if (request->route->kind == ROUTE_HEALTH || options.token_file == NULL)
		return true;
	token = find_token(request, &length);
	if (token != NULL)
	{
		const char *role = tokens_role(&tokens, token, length, time(NULL));

		if (role != NULL)
		{
			request_set_role(request, role);
			request->token = memory_text(token, length);
			return true;
		}
	}
	else if (options.anonymous_role != NULL)
		return true;
	refuse(request, token != NULL ? "the token is not known" : "there is no token");
	return false;
}

/* Does the token still stand for the role? token: NULL = there was none, and needed to be none. */
bool
access_holds(const char *token, const char *role)
{
	const char *now;

	if (token == NULL)
		return true;
	now = tokens_role(&tokens, token, strlen(token), time(NULL));
	return now != NULL && strcmp(now, role) == 0;
}

/* The same for a request; false = it has its answer. */
bool
access_confirm(Request *request)
{
	if (access_holds(request->token, request->role_name))
		return true;
	refuse(request, "the token counts no more");
	return false;
}
