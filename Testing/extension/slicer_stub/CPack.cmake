stub_call("cpack")
