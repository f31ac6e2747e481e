/*
 * group_key.c
 *		Whose an event is, by what its flow's group_by says. Pure: no SQL.
 *
 * group_by is 'flow_id', 'flow_id/N' (what comes before the Nth slash), 'header:NAME', or 'payload:POINTER', a JSON
 * pointer as in RFC 6901. sql/parts/020_configuration.sql has the condition that it satisfies.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "rules/group_key.h"

#define BY_FLOW_ID "flow_id"
#define BY_HEADER "header:"
#define BY_PAYLOAD "payload:"

static bool
begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* One step of a JSON pointer: ~1 stands for a slash, ~0 for a tilde. */
static char *
unescape(const char *step, int length)
{
	char *plain = palloc(length + 1);
	int used = 0;

	for (int i = 0; i < length; i++)
	{
		plain[used] = step[i];
		if (step[i] == '~' && i + 1 < length && (step[i + 1] == '0' || step[i + 1] == '1'))
			plain[used] = step[++i] == '1' ? '/' : '~';
		used++;
	}
	plain[used] = '\0';
	return plain;
}

/* The steps of a JSON pointer, which is empty or begins with a slash. */
static void
parse_pointer(const char *pointer, EvqGroupRule *rule)
{
	rule->steps = palloc((strlen(pointer) + 1) * sizeof(char *));
	while (*pointer == '/')
	{
		int length = strcspn(++pointer, "/");

		rule->steps[rule->step_count++] = unescape(pointer, length);
		pointer += length;
	}
}

/* Takes a group_by to pieces, in the current memory context; NULL = it is none. */
const EvqGroupRule *
evq_group_rule_parse(const char *group_by)
{
	EvqGroupRule *rule = palloc0(sizeof(EvqGroupRule));

	if (begins_with(group_by, BY_HEADER))
	{
		rule->source = EVQ_GROUP_BY_HEADER;
		rule->steps = palloc(sizeof(char *));
		rule->steps[rule->step_count++] = pstrdup(group_by + strlen(BY_HEADER));
		return rule;
	}
	if (begins_with(group_by, BY_PAYLOAD))
	{
		rule->source = EVQ_GROUP_BY_PAYLOAD;
		parse_pointer(group_by + strlen(BY_PAYLOAD), rule);
		return rule;
	}
	if (!begins_with(group_by, BY_FLOW_ID))
		return NULL;
	rule->source = EVQ_GROUP_BY_FLOW_ID;
	if (group_by[strlen(BY_FLOW_ID)] == '/')
		rule->parts = atoi(group_by + strlen(BY_FLOW_ID) + 1);
	return rule;
}

/* What comes before the slash of this number; all of it where there are not so many. */
static const char *
first_parts(const char *flow_id, int parts)
{
	const char *end = flow_id;

	if (parts == 0)
		return flow_id;
	for (int i = 0; i < parts; i++)
	{
		end += strcspn(end, "/");
		if (*end == '\0')
			return flow_id;
		end++;
	}
	return pnstrdup(flow_id, end - 1 - flow_id);
}

/* Where a step leads; NULL = nowhere. */
static JsonbValue *
follow(JsonbContainer *container, const char *step)
{
	if (JsonContainerIsObject(container))
		return getKeyJsonValueFromContainer(container, step, strlen(step), NULL);
	if (JsonContainerIsScalar(container) || step[0] == '\0' || strspn(step, "0123456789") != strlen(step) ||
		strlen(step) > 9)
		return NULL;
	return getIthJsonbValueFromContainer(container, atoi(step));
}

static const char *
scalar_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return value->val.boolean ? "true" : "false";
		default:
			return NULL;
	}
}

static const char *
json_text_at(const EvqGroupRule *rule, Datum json)
{
	Jsonb *jsonb = json == (Datum) 0 ? NULL : DatumGetJsonbP(json);
	JsonbContainer *container = jsonb == NULL ? NULL : &jsonb->root;
	JsonbValue root;

	if (container == NULL)
		return NULL;
	if (rule->step_count == 0)
		return JsonbExtractScalar(container, &root) ? scalar_text(&root) : NULL;
	for (int i = 0; i < rule->step_count; i++)
	{
		JsonbValue *found = follow(container, rule->steps[i]);

		if (found == NULL)
			return NULL;
		if (i == rule->step_count - 1)
			return scalar_text(found);
		if (found->type != jbvBinary)
			return NULL;
		container = found->val.binary.data;
	}
	return NULL;
}

/*
 * The group key of an event with this flow_id, payload and headers (jsonb; 0 = none, or not asked for by the rule); NULL
 * = nothing is there, or it is empty, or no scalar. It may be a part of the arguments.
 */
const char *
evq_group_key_of(const EvqGroupRule *rule, const char *flow_id, Datum payload, Datum headers)
{
	const char *key = rule->source == EVQ_GROUP_BY_FLOW_ID
						  ? first_parts(flow_id, rule->parts)
						  : json_text_at(rule, rule->source == EVQ_GROUP_BY_HEADER ? headers : payload);

	return key == NULL || key[0] == '\0' ? NULL : key;
}
