/*
 * named_flows.h
 *		Several flows as an argument, with their weights.
 *
 * As the functions of arguments.h: the caller has called evq_config_use().
 */
#ifndef EVQ_NAMED_FLOWS_H
#define EVQ_NAMED_FLOWS_H

#include "fmgr.h"

#include "session/acquire.h"

extern bool evq_named_flows_are_array(FunctionCallInfo fcinfo, int argno);
extern EvqWeightedFlow *
evq_named_flows_read(FunctionCallInfo fcinfo, int argno, bool is_text, int weights_argno, int *count);

#endif /* EVQ_NAMED_FLOWS_H */
