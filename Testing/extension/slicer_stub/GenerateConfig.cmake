stub_call("generate-config")
