# evq-gateway, built in the top folder and installed into PostgreSQL's bindir
# with its man page.  Included by the Makefile before PGXS.

GATEWAY_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard gateway/*.c)))
GATEWAY_FILES = $(sort $(shell find ui -type f)) gateway/openapi.json
GATEWAY_EMBEDDED = gateway/embedded.s
GATEWAY_MAN = gateway/evq-gateway.1
GATEWAY_LIBS = -lmicrohttpd -lwslay -lgnutls
GATEWAY_FUZZED = buffer hosts memory problem routes target tokens
GATEWAY_SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all

SCRIPTS_built += evq-gateway
EXTRA_CLEAN += $(GATEWAY_OBJS) $(GATEWAY_EMBEDDED) evq-gateway-sanitized evq-gateway-fuzz

evq-gateway: $(GATEWAY_OBJS) $(GATEWAY_EMBEDDED)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(libpq) $(GATEWAY_LIBS) -o $@

# For the slow tests: the same program, which ends where it meets an error of memory.
sanitized: evq-gateway-sanitized
evq-gateway-sanitized: $(wildcard gateway/*.c) $(GATEWAY_EMBEDDED) $(wildcard gateway/*.h)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(GATEWAY_SANITIZE) $(filter %.c %.s,$^) $(LDFLAGS) $(libpq) $(GATEWAY_LIBS) -o $@

$(GATEWAY_OBJS) evq-gateway-sanitized: override CPPFLAGS += -isystem $(includedir) -D_GNU_SOURCE -DEVQ_VERSION='"$(EVQ_VERSION)"'
$(GATEWAY_OBJS): $(wildcard gateway/*.h) evq.control

$(GATEWAY_EMBEDDED): gateway/embed $(GATEWAY_FILES)
	gateway/embed $(GATEWAY_FILES) > $@.tmp
	mv $@.tmp $@

# Random bytes for what takes apart what comes from outside.
fuzzers: evq-gateway-fuzz
evq-gateway-fuzz: test/fuzz/gateway.c $(GATEWAY_FUZZED:%=gateway/%.c) $(wildcard gateway/*.h)
	clang -g -O1 -D_GNU_SOURCE -Igateway -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $(filter %.c,$^) -o $@

install: install-gateway-man
install-gateway-man:
	$(MKDIR_P) '$(DESTDIR)$(mandir)/man1'
	$(INSTALL_DATA) $(GATEWAY_MAN) '$(DESTDIR)$(mandir)/man1/'

uninstall: uninstall-gateway-man
uninstall-gateway-man:
	rm -f '$(DESTDIR)$(mandir)/man1/$(notdir $(GATEWAY_MAN))'

.PHONY: fuzzers sanitized install-gateway-man uninstall-gateway-man
