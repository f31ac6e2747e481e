/*
 * target.h
 *		The target of a request: its path, taken apart and decoded, and its query.
 */
#ifndef EVQ_GATEWAY_TARGET_H
#define EVQ_GATEWAY_TARGET_H

#include <stdbool.h>

#define TARGET_SEGMENTS 6
#define TARGET_PARAMETERS 16

typedef struct Target
{
	char *path;                      /* as it came, without the query */
	char *segments[TARGET_SEGMENTS]; /* decoded */
	int segment_count;               /* above TARGET_SEGMENTS: that many, of which the first are kept */
	char *names[TARGET_PARAMETERS];  /* decoded, each name once */
	char *values[TARGET_PARAMETERS];
	int parameter_count;
	char *storage; /* what the decoded texts lie in */
} Target;

extern const char *target_parse(Target *target, const char *raw);
extern void target_free(Target *target);

#endif /* EVQ_GATEWAY_TARGET_H */
