/*
 * tokens.c
 *		Bearer tokens and the database roles that they stand for.
 *
 * A file of tokens has a line "ROLE TOKEN" or "ROLE TOKEN UNTIL" for each; empty lines and those that begin with # do not
 * count.
 */
#include "tokens.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define LONGEST_ROLE 63

static const char blanks[] = " \t\r";
/* What may stand behind "Bearer ". */
static const char token_characters[] =
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=";

/* The time that this takes depends on the lengths alone. */
static int
differ(const char *known, const char *given, size_t given_length)
{
	size_t known_length = strlen(known);
	volatile unsigned char difference = known_length != given_length;

	for (size_t i = 0; i < given_length; i++)
		difference = (unsigned char) (difference | (given[i] ^ known[i % known_length]));
	return difference;
}

/* Every token is compared, and wholly, whichever it is. NULL = none. */
static const Token *
find(const Tokens *tokens, const char *token, size_t length)
{
	const Token *found = NULL;

	for (int i = 0; i < tokens->count; i++)
	{
		if (!differ(tokens->entries[i].token, token, length))
			found = &tokens->entries[i];
	}
	return found;
}

/* 0 = not a time. */
static time_t
parse_time(const char *text, size_t length)
{
	static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"};

	for (int i = 0; i < 2; i++)
	{
		struct tm parts = {0};
		const char *end = strptime(text, forms[i], &parts);

		if (end != NULL && end == text + length)
			return timegm(&parts);
	}
	return 0;
}

static const char *
parse_line(Tokens *tokens, const char *line)
{
	const char *role = line + strspn(line, blanks);
	size_t role_length = strcspn(role, blanks);
	const char *token = role + role_length + strspn(role + role_length, blanks);
	size_t token_length = strcspn(token, blanks);
	const char *until = token + token_length + strspn(token + token_length, blanks);
	size_t until_length = strcspn(until, blanks);
	time_t until_time = parse_time(until, until_length);

	if (role_length == 0 || *role == '#')
		return NULL;
	if (token_length == 0 || until[until_length + strspn(until + until_length, blanks)] != '\0')
		return "a line is a role, a token and, if the token expires, until when";
	if (until_length > 0 && until_time <= 0)
		return "a token expires at a date or a time such as 2030-12-31T23:59:59Z";
	if (role_length > LONGEST_ROLE)
		return "the role has more than 63 bytes";
	if (token_length < TOKENS_SHORTEST || token_length > TOKENS_LONGEST)
		return "a token has 16 to 255 characters";
	if (strspn(token, token_characters) != token_length)
		return "a token consists of letters, digits and - . _ ~ + / =";
	if (tokens->count == TOKENS_MAX)
		return "there are more than 1000 tokens";
	if (find(tokens, token, token_length) != NULL)
		return "the token is there already";
	tokens->entries[tokens->count].role = memory_text(role, role_length);
	tokens->entries[tokens->count].token = memory_text(token, token_length);
	tokens->entries[tokens->count].until = until_time;
	tokens->count++;
	return NULL;
}

/* Returns what is wrong with a line, NULL = nothing. Either way the tokens are to be freed. */
const char *
tokens_parse(Tokens *tokens, const char *text, size_t length, int *line_number)
{
	const char *end = text + length;
	const char *problem = NULL;

	memset(tokens, 0, sizeof(*tokens));
	*line_number = 0;
	while (text < end && problem == NULL)
	{
		const char *newline = memchr(text, '\n', (size_t) (end - text));
		size_t line_length = (size_t) ((newline != NULL ? newline : end) - text);
		char *line = memory_text(text, line_length);

		++*line_number;
		problem = memchr(line, '\0', line_length) != NULL ? "the line has a NUL" : parse_line(tokens, line);
		free(line);
		text += line_length + 1;
	}
	return problem;
}

/* The role that a token stands for; NULL = none, or it has expired. */
const char *
tokens_role(const Tokens *tokens, const char *token, size_t length, time_t now)
{
	const Token *found;

	if (length < TOKENS_SHORTEST || length > TOKENS_LONGEST)
		return NULL;
	found = find(tokens, token, length);
	return found != NULL && (found->until == 0 || now < found->until) ? found->role : NULL;
}

void
tokens_free(Tokens *tokens)
{
	for (int i = 0; i < tokens->count; i++)
	{
		free(tokens->entries[i].role);
		free(tokens->entries[i].token);
	}
	tokens->count = 0;
}
