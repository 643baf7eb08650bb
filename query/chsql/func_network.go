package chsql

var networkFunctions = map[string]function{}
