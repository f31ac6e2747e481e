/*
 * files.c
 *		Files that are part of the program.
 */
#include "files.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct
{
	const char *suffix;
	const char *type;
} types[] = {
	{".html", "text/html; charset=utf-8"},
	{".js", "text/javascript; charset=utf-8"},
	{".mjs", "text/javascript; charset=utf-8"},
	{".css", "text/css; charset=utf-8"},
	{".json", "application/json"},
	{".svg", "image/svg+xml"},
	{".png", "image/png"},
	{".ico", "image/x-icon"},
	{".woff2", "font/woff2"},
	{".txt", "text/plain; charset=utf-8"},
	{".webmanifest", "application/manifest+json"},
};

/* NULL = there is none. "/" is /index.html. */
const File *
files_find(const char *path)
{
	if (strcmp(path, "/") == 0)
		path = "/index.html";
	for (const File *file = files_embedded; file->path != NULL; file++)
	{
		if (strcmp(file->path, path) == 0)
			return file;
	}
	return NULL;
}

const char *
files_type(const File *file)
{
	const char *suffix = strrchr(file->path, '.');

	for (size_t i = 0; suffix != NULL && i < sizeof(types) / sizeof(types[0]); i++)
	{
		if (strcmp(suffix, types[i].suffix) == 0)
			return types[i].type;
	}
	return "application/octet-stream";
}

/* An entity tag: FNV-1a of the contents. */
void
files_tag(const File *file, char tag[19])
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (const char *byte = file->data; byte < file->end; byte++)
		hash = (hash ^ (unsigned char) *byte) * UINT64_C(1099511628211);
	snprintf(tag, 19, "\"%016" PRIx64 "\"", hash);
}
