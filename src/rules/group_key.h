/*
 * group_key.h
 *		Whose an event is, by what its flow's group_by says.
 */
#ifndef EVQ_GROUP_KEY_H
#define EVQ_GROUP_KEY_H

typedef enum EvqGroupSource
{
	EVQ_GROUP_BY_FLOW_ID,
	EVQ_GROUP_BY_HEADER,
	EVQ_GROUP_BY_PAYLOAD
} EvqGroupSource;

/* A group_by, taken to pieces. */
typedef struct EvqGroupRule
{
	EvqGroupSource source;
	int parts;    /* of the flow_id, so many between slashes; 0 = all of it */
	char **steps; /* into the JSON: keys, or places in arrays */
	int step_count;
} EvqGroupRule;

extern const EvqGroupRule *evq_group_rule_parse(const char *group_by);
extern const char *
evq_group_key_of(const EvqGroupRule *rule, const char *flow_id, Datum payload, Datum headers);

#endif /* EVQ_GROUP_KEY_H */
