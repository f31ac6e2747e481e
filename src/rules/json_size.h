/*
 * json_size.h
 *		How long the text of a JSON value is. Pure: no SQL.
 */
#ifndef EVQ_JSON_SIZE_H
#define EVQ_JSON_SIZE_H

#include "utils/jsonb.h"

extern bool evq_json_text_exceeds(const Jsonb *value, Size limit);

#endif /* EVQ_JSON_SIZE_H */
