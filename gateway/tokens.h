/*
 * tokens.h
 *		Bearer tokens and the database roles that they stand for.
 */
#ifndef EVQ_GATEWAY_TOKENS_H
#define EVQ_GATEWAY_TOKENS_H

#include <stddef.h>
#include <time.h>

#define TOKENS_SHORTEST 16
#define TOKENS_LONGEST 255
#define TOKENS_MAX 1000

typedef struct Token
{
	char *role;
	char *token;
	time_t until; /* 0 = it does not expire */
} Token;

typedef struct Tokens
{
	Token entries[TOKENS_MAX];
	int count;
} Tokens;

extern const char *tokens_parse(Tokens *tokens, const char *text, size_t length, int *line_number);
extern const char *tokens_role(const Tokens *tokens, const char *token, size_t length, time_t now);
extern void tokens_free(Tokens *tokens);

#endif /* EVQ_GATEWAY_TOKENS_H */
