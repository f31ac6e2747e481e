/*
 * named_flows.c
 *		Several flows as an argument, with their weights.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "session/arguments.h"
#include "session/named_flows.h"

#define MAX_FLOWS 100
#define MAX_WEIGHT 1000

/* Is an argument that is the name of a flow the text of an array of them, which no name begins like? */
bool
evq_named_flows_are_array(FunctionCallInfo fcinfo, int argno)
{
	text *name = PG_ARGISNULL(argno) ? NULL : PG_GETARG_TEXT_PP(argno);

	return name != NULL && VARSIZE_ANY_EXHDR(name) > 0 && VARDATA_ANY(name)[0] == '{';
}

static void
read_weights(FunctionCallInfo fcinfo, int argno, EvqWeightedFlow *flows, int flow_count)
{
	int count;
	Datum *weights;

	if (PG_ARGISNULL(argno))
		return;
	weights = evq_argument_elements(fcinfo, argno, "weights", INT8OID, &count);
	if (count != flow_count)
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%d flow types but %d weights", flow_count, count),
				 errhint("Pass one weight for each flow, in the same order, or NULL for equal ones.")));
	for (int i = 0; i < count; i++)
	{
		flows[i].weight = DatumGetInt64(weights[i]);
		if (flows[i].weight < 1 || flows[i].weight > MAX_WEIGHT)
			ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
							errmsg("weight of flow \"%s\" is out of range", flows[i].flow->flow_type),
							errhint("Pass 1 to %d.", MAX_WEIGHT)));
	}
}

/*
 * The flows of an array of their names, or of its text, with their weights; weights_argno: below 0
 * = there are none, as for NULL: all are 1. Raises an error where the current user may not work on one.
 */
EvqWeightedFlow *
evq_named_flows_read(FunctionCallInfo fcinfo, int argno, bool is_text, int weights_argno, int *count)
{
	Datum *names = is_text ? evq_argument_elements_of_text(fcinfo, argno, "flow_types", count)
						   : evq_argument_elements(fcinfo, argno, "flow_types", TEXTOID, count);
	EvqWeightedFlow *flows;

	if (*count == 0 || *count > MAX_FLOWS)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("flow_types has %d elements", *count),
						errhint("Pass 1 to %d names.", MAX_FLOWS)));
	flows = palloc(*count * sizeof(EvqWeightedFlow));
	for (int i = 0; i < *count; i++)
	{
		flows[i].flow = evq_argument_flow(TextDatumGetCString(names[i]));
		flows[i].weight = 1;
		evq_config_require(EVQ_RIGHT_WORK, flows[i].flow->flow_no);
		for (int j = 0; j < i; j++)
		{
			if (flows[j].flow == flows[i].flow)
				ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
								errmsg("flow \"%s\" is named twice", flows[i].flow->flow_type),
								errhint("Name each flow once; weights give one more than others.")));
		}
	}
	if (weights_argno >= 0)
		read_weights(fcinfo, weights_argno, flows, *count);
	return flows;
}
