/*
 * gateway.c
 *		Random bytes for what evq-gateway takes apart itself: targets, Host and Origin, tokens, and texts that become JSON.
 *
 * The first byte chooses; the others are the text. Each is checked for what it promises, not only for memory.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buffer.h"
#include "hosts.h"
#include "json.h"
#include "memory.h"
#include "problem.h"
#include "routes.h"
#include "target.h"
#include "tokens.h"

#define PROMISE(condition) \
	do                     \
	{                      \
		if (!(condition))  \
			abort();       \
	} while (0)

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

/* Is it one JSON string, with nothing in it that would end it or its line? */
static bool
is_json_string(const Buffer *buffer)
{
	if (buffer->length < 2 || buffer->data[0] != '"' || buffer->data[buffer->length - 1] != '"')
		return false;
	for (size_t i = 1; i < buffer->length - 1; i++)
	{
		if ((unsigned char) buffer->data[i] < ' ' || buffer->data[i] == '"')
			return false;
		if (buffer->data[i] == '\\')
			i += buffer->data[i + 1] == 'u' ? 5 : 1;
		if (i >= buffer->length - 1)
			return false;
	}
	return buffer_is_utf8(buffer->data, buffer->length);
}

static bool
is_clean(const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ')
			return false;
	}
	return buffer_is_utf8(text, strlen(text));
}

static void
try_target(const char *text)
{
	Target target;
	const char *variable;
	char allowed[ROUTES_METHODS];

	if (target_parse(&target, text) == NULL)
	{
		int kept = target.segment_count < TARGET_SEGMENTS ? target.segment_count : TARGET_SEGMENTS;

		for (int i = 0; i < kept; i++)
			PROMISE(is_clean(target.segments[i]));
		for (int i = 0; i < target.parameter_count; i++)
			PROMISE(is_clean(target.names[i]) && is_clean(target.values[i]));
		if (routes_find(&target, "GET", &variable, allowed) != NULL)
			PROMISE(variable == NULL || *variable != '\0');
		PROMISE(strlen(allowed) < ROUTES_METHODS);
	}
	target_free(&target);
}

/* The text up to a blank is a Host, what follows an Origin. */
static void
try_hosts(char *text)
{
	static const Hosts hosts = {
		.names = {"evq.example", "other.example:8443"},
		.name_count = 2,
		.origins = {"https://shop.example"},
		.origin_count = 1,
	};
	char *origin = strchr(text, ' ');

	if (origin != NULL)
		*origin++ = '\0';
	if (hosts_serves(&hosts, text))
	{
		size_t length = strcspn(text, ":");
		bool is_known = strncasecmp(text, "[::1]", 5) == 0;

		for (const char *const *name =
				 (const char *const[]){"localhost", "127.0.0.1", "evq.example", "other.example", NULL};
			 *name != NULL; name++)
			is_known |= strlen(*name) == length && strncasecmp(*name, text, length) == 0;
		PROMISE(is_known);
	}
	if (origin != NULL && hosts_admits_origin(&hosts, origin, text))
		PROMISE(strcasecmp(origin, "https://shop.example") == 0 ||
				strcasecmp(strstr(origin, "://") + 3, text) == 0);
}

static void
try_tokens(const char *text, size_t length)
{
	static Tokens tokens;
	int line_number;

	if (tokens_parse(&tokens, text, length, &line_number) == NULL)
	{
		for (int i = 0; i < tokens.count; i++)
			PROMISE(tokens_role(&tokens, tokens.entries[i].token, strlen(tokens.entries[i].token),
								tokens.entries[i].until - 1) == tokens.entries[i].role);
	}
	(void) tokens_role(&tokens, text, length, 0);
	tokens_free(&tokens);
}

static void
try_json(const char *text)
{
	Buffer buffer = {0};
	Problem problem = {.status = problem_status(text, true),
					   .title = text,
					   .detail = text,
					   .hint = text,
					   .sqlstate = text};

	json_string(&buffer, text);
	PROMISE(is_json_string(&buffer));
	buffer_free(&buffer);
	PROMISE(problem.status >= 400 && problem.status < 600);
	problem_write(&buffer, &problem);
	PROMISE(buffer_is_utf8(buffer.data, buffer.length));
	buffer_free(&buffer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	char *text;

	if (length == 0)
		return 0;
	text = memory_text((const char *) data + 1, length - 1);
	switch (data[0] & 3)
	{
		case 0:
			try_target(text);
			break;
		case 1:
			try_hosts(text);
			break;
		case 2:
			try_tokens(text, length - 1);
			break;
		default:
			try_json(text);
	}
	free(text);
	return 0;
}
