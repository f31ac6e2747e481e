/*
 * json_size.c
 *		How long the text of a JSON value is. Pure: no SQL.
 *
 * A jsonb of some kilobytes can have a text of gigabytes, for a number such as
 * 1e131071 takes a few bytes and prints all its digits. Everything else takes
 * about as much room as its text: escapes make that six times longer at most.
 * So only numbers are measured.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "rules/json_size.h"

/*
 * The longest text of a number: 131072 digits, a point, 16383 decimals and a
 * sign (PostgreSQL's documentation, "Numeric Types"). The least room that a
 * number takes: its entry in the container, its length, its header.
 */
#define LONGEST_NUMBER (131072 + 1 + 16383 + 1)
#define LEAST_ROOM 12

/*
 * The format on disk (NUMERIC_SHORT in PostgreSQL's numeric.c): the first two bits of the header tell a short number,
 * which has at most 63 groups of four digits before its point and 63 decimals.
 */
static bool
is_short(Numeric number)
{
	uint16 header;

	memcpy(&header, VARDATA_ANY(number), sizeof(header));
	return (header & 0xC000) == 0x8000;
}

static Size
number_length(Numeric number)
{
	char *text;
	Size length;

	if (is_short(number))
		return 0;
	text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	length = strlen(text);
	pfree(text);
	return length;
}

/* Adds up the long numbers of a container, until there is more than the limit. */
static Size
numbers_length(const JsonbContainer *container, Size limit)
{
	int count = JsonContainerSize(container);
	const char *base;
	uint32 offset = 0;
	Size length = 0;

	check_stack_depth();
	if (JsonContainerIsObject(container))
		count *= 2; /* the keys come first */
	base = (const char *) &container->children[count];
	for (int i = 0; i < count && length <= limit; i++)
	{
		JEntry entry = container->children[i];

		if (JBE_ISNUMERIC(entry))
			length += number_length((Numeric) (base + INTALIGN(offset)));
		else if (JBE_ISCONTAINER(entry))
			length += numbers_length((const JsonbContainer *) (base + INTALIGN(offset)), limit - length);
		JBE_ADVANCE_OFFSET(offset, entry);
	}
	return length;
}

/* Is the text of the value longer than the limit, escapes and short numbers aside? */
bool
evq_json_text_exceeds(const Jsonb *value, Size limit)
{
	Size size = VARSIZE(value) - VARHDRSZ;

	if (size > limit)
		return true;
	/* So few numbers fit that they cannot be too long: no need to look at them. */
	if (size / LEAST_ROOM * LONGEST_NUMBER <= limit - size)
		return false;
	return size + numbers_length(&value->root, limit - size) > limit;
}
