/*
 * tokens.h
 *		Bearer tokens and the database roles that they stand for.
 */
#ifndef EVQ_GATEWAY_TOKENS_H
#define EVQ_GATEWAY_TOKENS_H

#include <stddef.h>

#define TOKENS_SHORTEST 16
#define TOKENS_LONGEST 255
#define TOKENS_MAX 1000

typedef struct Tokens
{
	struct
	{
		char *role;
		char *token;
	} entries[TOKENS_MAX];
	int count;
} Tokens;

extern const char *tokens_parse(Tokens *tokens, const char *text, size_t length, int *line_number);
extern const char *tokens_role(const Tokens *tokens, const char *token, size_t length);
extern void tokens_free(Tokens *tokens);

#endif /* EVQ_GATEWAY_TOKENS_H */
