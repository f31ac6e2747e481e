# evq-gateway, which has the web page in it; see common/program.mk.

GATEWAY_FILES = $(sort $(shell find ui -type f)) gateway/openapi.json
GATEWAY_EMBEDDED = gateway/embedded.s
GATEWAY_FUZZED = $(addprefix gateway/,hosts.c json.c problem.c routes.c target.c tokens.c) $(addprefix common/,buffer.c memory.c)

$(eval $(call program,gateway,-lmicrohttpd -lwslay -lgnutls,$(GATEWAY_EMBEDDED)))
EXTRA_CLEAN += $(GATEWAY_EMBEDDED) evq-gateway-fuzz

$(GATEWAY_EMBEDDED): gateway/embed $(GATEWAY_FILES)
	gateway/embed $(GATEWAY_FILES) > $@.tmp
	mv $@.tmp $@

# Random bytes for what takes apart what comes from outside.
fuzzers: evq-gateway-fuzz
evq-gateway-fuzz: test/fuzz/gateway.c $(GATEWAY_FUZZED) $(wildcard gateway/*.h common/*.h)
	clang -g -O1 -D_GNU_SOURCE -Igateway -Icommon -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $(filter %.c,$^) -o $@

.PHONY: fuzzers
